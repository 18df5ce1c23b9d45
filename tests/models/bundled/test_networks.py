"""Networks of the samples."""

import pytest
import torch

from ovtool.models.bundled import models as samples
from ovtool.models.options import SourceOptions


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("lenet-300-100", 266_610),
        ("lenet-5", 431_080),
        ("digits-cnn", 61_050),
        ("digits-resnet", 77_754),
    ],
)
def test_untrained_network_is_reproducible(tmp_path, name, parameters):
    state = torch.get_rng_state()
    first = samples.read(f"sample:{name}", SourceOptions()).network.module
    assert torch.equal(torch.get_rng_state(), state), "torch's own generator is left alone"
    torch.manual_seed(5)
    again = samples.read(f"sample:{name}", SourceOptions()).network.module
    for key, tensor in first.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[key])
    assert sum(p.numel() for p in first.parameters()) == parameters
