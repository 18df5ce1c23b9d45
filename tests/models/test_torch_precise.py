import pytest
import torch

from ovtool.models.network import Network
from ovtool.models.torch_precise import PreciseNetwork, random_operations


class InPlace(torch.nn.Module):
    def forward(self, x):
        y = torch.zeros(x.shape[0], 3)
        y[:, 1] = x[:, 1]
        y += 0.1
        y[:, 2].copy_(x[:, 2])
        return y * torch.arange(3.0)


class Half(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer = torch.nn.Linear(8, 8).to(torch.bfloat16)

    def forward(self, x):
        return self.layer(x.to(torch.bfloat16)).float()


@pytest.mark.parametrize(
    "module",
    [
        torch.nn.LSTM(8, 8, batch_first=True),
        torch.nn.TransformerEncoderLayer(8, 2, batch_first=True),
        torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.BatchNorm1d(5)),
        InPlace(),
        Half(),
    ],
    ids=lambda module: type(module).__name__,
)
def test_all_operations_run_in_f64(module):
    """The same weights in f64, run by torch itself, give the same."""
    module.eval()
    x = torch.randn(2, 5, 8) if not isinstance(module, InPlace) else torch.randn(4, 8)
    network = Network(module, {"x": x}, False, "m")
    with torch.no_grad():
        precise = PreciseNetwork(network)({"x": x})
        plain = network({"x": x})
        if isinstance(module, Half):
            wide = torch.nn.functional.linear(
                x.double(), module.layer.weight.double(), module.layer.bias.double()
            )
        elif isinstance(module, InPlace):
            wide = plain.double()
        else:
            wide = module.double()(x.double())
    first, expected, eager = (
        value[0] if isinstance(value, tuple) else value for value in (precise, wide, plain)
    )
    assert first.dtype == torch.float64
    torch.testing.assert_close(first, expected, atol=1e-6, rtol=1e-6)
    assert eager.dtype == torch.float32


def test_random_operations_are_named():
    x = torch.ones(4)
    assert random_operations(lambda: torch.nn.functional.dropout(x, 0.5), "m")[0] == "dropout"
    assert random_operations(lambda: torch.nn.functional.dropout(x, 0.5, False), "m") == []
    assert random_operations(lambda: torch.randn_like(x) + x, "m") == ["aten.randn_like"]
    assert random_operations(lambda: x + 1, "m") == []


class Dropping(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.drop = torch.nn.Linear(4, 3), torch.nn.Dropout(0.5)

    def forward(self, x):
        return self.drop(self.layer(x))


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
@pytest.mark.parametrize("scripted", [True, False])
@pytest.mark.parametrize("training", [True, False])
def test_dropout_in_files_of_torch_is_named(scripted, training):
    module = Dropping().train(training)
    x = torch.ones(2, 4)
    made = torch.jit.script(module) if scripted else torch.jit.trace(module, x, check_trace=False)
    names = random_operations(lambda: made(x), "m", made)
    # Scripting keeps the flag of the module; tracing keeps its value.
    assert ("dropout" in names) == (training and not scripted)
    assert bool(names) == training
