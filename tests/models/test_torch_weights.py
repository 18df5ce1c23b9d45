"""Weights of a torch function."""

import pytest
import torch
from safetensors.torch import save_file

from ovtool.core.errors import InputError
from tests.models.source_models import Net, make


@pytest.mark.slow
@pytest.mark.parametrize("name", ["w.safetensors", "w.pt", "old.pt"])
def test_weights_load_from_every_format(nets, name):
    torch.manual_seed(1)
    state = {key: torch.randn_like(value) for key, value in Net().state_dict().items()}
    if name == "w.safetensors":
        save_file(state, name)
    else:
        torch.save(state, name, _use_new_zipfile_serialization=name != "old.pt")
    plain = make("nets:with_example", nets / "plain").record
    loaded = make("nets:with_example", nets / "loaded", weights=name).record
    assert loaded.source.sha256 != plain.source.sha256
    assert loaded.sha256 != plain.sha256
    assert loaded.check.max_abs_difference < 1e-4


def test_mismatched_weights_raise_with_the_keys(nets):
    state = Net().state_dict()
    state["more"] = state.pop("conv.bias")
    torch.save(state, "w.pt")
    with pytest.raises(InputError, match=r"conv.bias.*more"):
        make("nets:with_example", nets / "out", weights="w.pt")
    state = Net().state_dict() | {"conv.bias": torch.zeros(7)}
    torch.save(state, "w.pt")
    with pytest.raises(InputError, match=r"conv\.bias"):
        make("nets:with_example", nets / "out", weights="w.pt")
    (nets / "w.safetensors").write_bytes(b"\xff" * 50)
    with pytest.raises(InputError, match=r"w\.safetensors"):
        make("nets:with_example", nets / "out", weights="w.safetensors")
    with pytest.raises(InputError, match=r"none\.pt"):
        make("nets:with_example", nets / "out", weights="none.pt")
