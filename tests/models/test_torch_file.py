"""Files written by torch.save and TorchScript."""

import os
import pickle

import numpy as np
import openvino as ov
import pytest
import torch

from ovtool.core.errors import InputError
from ovtool.models.torch_weights import UnsafeFileError
from tests.models.source_models import make


class Hostile:
    """Makes a folder called ``ran`` when it is unpickled."""

    def __reduce__(self):
        return (os.mkdir, ("ran",))


@pytest.mark.parametrize("kind", ["module", "pickle", "in a state dict", "old format", "weights"])
def test_pickles_raise_without_running_code(nets, kind):
    hostile = torch.nn.Linear(2, 2) if kind == "module" else Hostile()
    if kind == "pickle":
        (nets / "m.pkl").write_bytes(pickle.dumps(hostile))
    elif kind == "in a state dict":
        torch.save({"conv.weight": hostile}, "m.pkl")
    else:
        torch.save(hostile, "m.pkl", _use_new_zipfile_serialization=kind != "old format")
    options = {"weights": "m.pkl"} if kind == "weights" else {}
    with pytest.raises(UnsafeFileError) as raised:
        make("nets:with_example" if options else "m.pkl", nets / "out", **options)
    assert "--trust" in raised.value.hint
    assert not (nets / "ran").exists()


def test_trusted_module_loads(nets):
    torch.save(torch.nn.Linear(3, 2), "m.pt")
    record = make("m.pt", nets / "out", trust=True, input_shapes={"input": (1, 3)}).record
    assert record.inputs[0].shape == (-1, 3)
    torch.save(torch.nn.Linear(3, 2).state_dict(), "state.pt")
    for trust in (True, False):
        with pytest.raises(InputError, match=r"state\.pt") as raised:
            make("state.pt", nets / "none", trust=trust)
    assert "module:function --weights state.pt" in raised.value.hint
    torch.save(Hostile(), "hostile.pt")
    with pytest.raises(InputError, match=r"hostile\.pt"):
        make("hostile.pt", nets / "none", trust=True)
    assert (nets / "ran").exists()


@pytest.mark.filterwarnings(
    # torch.jit deprecates itself in favour of torch.export
    "ignore:`torch.jit:DeprecationWarning"
)
def test_torchscript_requires_trust(nets):
    torch.jit.trace(torch.nn.Linear(3, 2), torch.zeros(1, 3)).save("m.pt")
    with pytest.raises(UnsafeFileError):
        make("m.pt", nets / "out")
    record = make("m.pt", nets / "out", trust=True, input_shapes={"input": (1, 3)}).record
    assert record.check.max_abs_difference < 1e-6


@pytest.mark.parametrize("content", [b"hello\n" * 9, b"PK\x03\x04" + bytes(90), b"\x80\x02}"])
def test_invalid_torch_file_raises(nets, content):
    (nets / "m.pt").write_bytes(content)
    with pytest.raises(InputError, match=r"m\.pt"):
        make("m.pt", nets / "out")


def test_a_damaged_archive_of_a_trusted_module_raises(nets):
    torch.save(torch.nn.Linear(3, 2), nets / "m.pt")
    content = (nets / "m.pt").read_bytes()
    directory = content.index(b"PK\x01\x02")
    (nets / "m.pt").write_bytes(content[:directory] + b"XX" + content[directory + 2 :])
    with pytest.raises(InputError, match=r"m\.pt"):
        make("m.pt", nets / "out", trust=True)


class Scripted(torch.nn.Module):
    """Returns one of two linear layers, by the sign of the mean."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b = torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)

    def forward(self, x, scale: float = 2.0):
        if bool(x.mean() > 0):
            return self.a(x) * scale
        return self.b(x)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_scripted_file_keeps_its_branches(nets):
    module = Scripted().eval()
    torch.jit.script(module).save("m.pt")
    with pytest.raises(InputError, match=r"m\.pt .* x ") as raised:
        make("m.pt", nets / "none", trust=True)
    assert "--shape x=" in raised.value.hint
    variant = make("m.pt", nets / "out", trust=True, input_shapes={"x": (1, 3)})
    assert not variant.record.notes
    compiled = ov.compile_model(variant.xml, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    for value in (1.0, -1.0):
        x = torch.full((1, 3), value)
        expected = module(x).detach().numpy()
        np.testing.assert_allclose(compiled([x.numpy()])[0], expected, atol=1e-5)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
@pytest.mark.parametrize("training", [True, False])
def test_a_trace_of_a_module_in_training_mode_names_dropout(tmp_path, training):
    module = torch.nn.Sequential(torch.nn.Linear(8, 4), torch.nn.Dropout(0.5)).train(training)
    path = tmp_path / "net.pt"
    torch.jit.trace(module, torch.ones(1, 8), check_trace=False).save(str(path))
    record = make(path, tmp_path / "out", trust=True, input_shapes={"input": (1, 8)}).record
    assert [note.id for note in record.notes] == ["dropout-active"] * training
    assert [d.checked for d in record.check.differences] == [not training]
