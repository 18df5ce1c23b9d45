"""Models of one operation with hostile constants end with a line, and the machine survives."""

import pytest

from tests.robustness import hostile, one_op
from tests.robustness.forkserver import ForkServer


def test_250_models_are_written(tmp_path):
    models = one_op.models()
    assert len({model.name for model in models}) == len(models) == 250
    assert all(model.write(tmp_path).stat().st_size for model in models[::10])


@pytest.mark.slow
def test_a_hostile_model_costs_one_line(tmp_path, monkeypatch):
    for name, value in hostile.LIMITS.items():
        monkeypatch.setenv(name, value)
    wanted = ("ir-gather-nd-0", "ir-convolution-pads_begin", "onnx-Tile-repeats")
    models = [
        next(m for m in one_op.models(1000) if m.name == f"{name}-1000000000") for name in wanted
    ]
    with ForkServer() as server:
        outcomes = list(hostile.attacks(server, models, ["convert"], tmp_path))
    assert len(outcomes) == 3
    assert not [outcome for outcome in outcomes if outcome.problems]
