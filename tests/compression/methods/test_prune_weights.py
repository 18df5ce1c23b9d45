"""Unstructured pruning: the zeros are in the saved graph, stay during training, and are counted."""

import os
import subprocess
import sys

import numpy as np
import openvino as ov
import pytest
import torch

from ovtool.compression.method import MissingInputError
from ovtool.compression.methods.prune_weights import _verify_zeros
from ovtool.compression.networks import restore_network
from ovtool.compression.pipeline import apply_method
from ovtool.compression.registry import parse_settings
from ovtool.core.errors import InputError
from tests.compression.learnable import Patterns, inputs, outputs, residual, saved
from tests.compression.samples import Notes, StoppingProgress

F32 = {"INFERENCE_PRECISION_HINT": "f32"}
WEIGHTS = 8 * 9 + 64 * 9 + 4 * 128
"""Of the two convolutions and the classifier."""
QUICK = {"epochs": 2, "batch_size": 32, "learning_rate": 3e-3}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return saved(tmp_path_factory.mktemp("zero") / "source", residual())


def zeros_in(variant):
    """Count the zeros by layer in the files, without the code under test."""
    model = ov.Core().read_model(variant.xml)
    sizes = {72: "stem", 576: "body", 512: "head"}
    return {
        sizes[c.data.size]: int((c.data == 0).sum())
        for c in model.get_ops()
        if c.get_type_name() == "Constant" and c.data.size in sizes
    }


def network_outputs(variant, x):
    return ov.Core().compile_model(variant.xml, "CPU", F32)(x)[0]


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["local", "global"])
def test_smallest_weights_stay_zero_in_training(source, tmp_path, mode):
    compressed = apply_method(
        source, "prune-weights", {**QUICK, "mode": mode, "ratio": 0.7}, inputs(),
        out=tmp_path / "z", name="z",
    )  # fmt: skip
    zeros, details = zeros_in(compressed), compressed.record.steps[0].details
    assert sum(zeros.values()) / WEIGHTS == pytest.approx(0.7, abs=0.005)
    if mode == "local":
        assert zeros == {"stem": 50, "body": 403, "head": 358}  # int((n - 1) * ratio) + 1
    else:
        assert len({round(zeros[k] / n, 2) for k, n in (("stem", 72), ("body", 576))}) == 2
    assert details["zeros"] == sum(zeros.values())
    assert details["sparsity_pct"] == round(100 * sum(zeros.values()) / WEIGHTS, 2)
    assert details["storage"]["nonzero_pct"] == pytest.approx(
        100 - details["sparsity_pct"], abs=0.01
    )
    progress = {name.split(".")[0]: row["zeros"] for name, row in details["zeroed"].items()}
    assert progress == zeros
    assert details["flops_before"] == details["flops_after"] == 2 * (64 * 72 + 64 * 576 + 512)
    assert len(details["training"]["epochs"]) == 2
    x = Patterns(4, seed=3).images
    network = restore_network(residual(), compressed)
    assert np.abs(network_outputs(compressed, x) - outputs(network, x)).max() < 1e-4
    assert np.abs(outputs(network, x) - outputs(residual(), x)).max() > 0.01


@pytest.mark.slow
def test_pruning_without_training_changes_only_zeroed_weights(source, tmp_path):
    given = inputs(training=None)
    compressed = apply_method(
        source, "prune-weights", {"epochs": 0}, given, out=tmp_path / "z", name="z"
    )
    before, after = (
        residual().module.body.weight,
        restore_network(residual(), compressed).module.body.weight,
    )
    gone = after == 0
    assert gone.float().mean() == pytest.approx(0.5, abs=0.002)
    assert torch.equal(after[~gone], before[~gone])
    assert before[gone].abs().max() <= before[~gone].abs().min()
    with pytest.raises(MissingInputError) as caught:
        apply_method(source, "prune-weights", {}, given, out=tmp_path / "t", name="t")
    assert caught.value.need == "training"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "left"),
    [
        ({"ignored_names": "head.weight"}, "head"),
        ({"ignored_types": "linear"}, "head"),
        ({"ignored_patterns": "body/"}, "body"),
    ],
)
def test_ignored_layers_keep_their_weights(source, tmp_path, settings, left):
    compressed = apply_method(
        source, "prune-weights", {"epochs": 0, **settings}, inputs(), out=tmp_path / "z", name="z"
    )
    zeros = zeros_in(compressed)
    assert zeros.pop(left) == 0
    assert all(zeros.values())


@pytest.mark.slow
def test_unknown_ignored_layers_raise(source, tmp_path):
    settings = {"epochs": 0, "ignored_names": "heat.weight", "ignored_types": "conv"}
    with pytest.raises(InputError) as caught:
        apply_method(source, "prune-weights", settings, inputs(), out=tmp_path / "z", name="z")
    for name in ("'heat.weight'", "'head.weight'", "'conv'", "'conv2d'"):
        assert name in str(caught.value)
    every = {"epochs": 0, "ignored_types": "conv2d, linear"}
    for mode in ("local", "regularization"):
        with pytest.raises(InputError, match=r"pruned tensors|prune-weights"):
            apply_method(
                source,
                "prune-weights",
                {**every, "mode": mode},
                inputs(),
                out=tmp_path / "z",
                name="z",
            )


@pytest.mark.slow
def test_learned_masks_reach_the_ratio_and_resume(source, tmp_path):
    settings = {
        **QUICK, "mode": "regularization", "ratio": 0.6, "mask_epochs": 6,
        "mask_learning_rate": 0.5,
    }  # fmt: skip
    compressed = apply_method(
        source, "prune-weights", settings, inputs(), out=tmp_path / "a", name="z"
    )
    details = compressed.record.steps[0].details
    assert sum(zeros_in(compressed).values()) == round(0.6 * WEIGHTS)
    assert details["masks_closed_pct"] > 30
    assert len(details["mask_training"]["epochs"]) == 6
    accuracy = (
        network_outputs(compressed, Patterns(seed=7).images).argmax(1) == Patterns().labels
    ).mean()
    assert accuracy > 0.7
    for task in ("learning masks, epoch 4", "retraining, epoch 2"):
        with pytest.raises(KeyboardInterrupt):
            apply_method(
                source, "prune-weights", settings, inputs(), out=tmp_path / "b", name="z",
                progress=StoppingProgress(task),
            )  # fmt: skip
    again = apply_method(source, "prune-weights", settings, inputs(), out=tmp_path / "b", name="z")
    assert again.record.sha256 == compressed.record.sha256
    assert again.record.network_sha256 == compressed.record.network_sha256
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


@pytest.mark.slow
def test_masks_below_the_ratio_give_a_note(source, tmp_path):
    progress = Notes()
    settings = {"epochs": 0, "mode": "regularization", "mask_epochs": 1}
    compressed = apply_method(
        source, "prune-weights", settings, inputs(), out=tmp_path / "z", name="z", progress=progress
    )
    assert compressed.record.steps[0].details["masks_closed_pct"] < 45
    assert any("masks" in note and "50%" in note for note in progress.notes)
    assert sum(zeros_in(compressed).values()) == WEIGHTS // 2


@pytest.mark.slow
def test_zeros_stay_in_later_training(source, tmp_path):
    first = apply_method(
        source, "prune-weights", {"epochs": 0}, inputs(), out=tmp_path / "z", name="z"
    )
    given = inputs(lambda: restore_network(residual(), first))
    after = apply_method(first, "train", QUICK, given, out=tmp_path / "t", name="t")
    assert zeros_in(after) == zeros_in(first)
    small = apply_method(after, "int8", {}, given, out=tmp_path / "q", name="q")
    assert small.record.steps[-1].details["storage"]["nonzero_pct"] <= 50


def test_saved_graph_with_too_few_zeros_raises(source):
    model = ov.Core().read_model(source.xml)
    with pytest.raises(InputError, match=rf"\b0 zeros .*{WEIGHTS} weights.*\b5$"):
        _verify_zeros(5)(model)


@pytest.mark.slow
def test_zeros_are_counted_where_zero_means_zero(source, tmp_path):
    first = apply_method(
        source, "prune-weights", {"epochs": 0}, inputs(), out=tmp_path / "z", name="z"
    )
    for mode in ("int8_sym", "int8_asym"):
        out = tmp_path / mode
        compressed = apply_method(first, "weights", {"mode": mode}, inputs(), out=out, name="w")
        assert compressed.record.steps[-1].details["storage"]["nonzero_pct"] <= 50


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"ratio": 0}, "ratio"),
        ({"ratio": 1}, "ratio"),
        ({"mode": "movement"}, "mode"),
        ({"keep_zeros": False}, "keep_zeros"),
    ],
)
def test_contradictory_settings_raise(settings, message):
    with pytest.raises(InputError, match=message):
        parse_settings("prune-weights", settings)


IN_ANOTHER_PROCESS = """
import sys; from pathlib import Path
from ovtool.compression.pipeline import apply_method
from ovtool.core.variant import Variant
from tests.compression.learnable import inputs
from tests.compression.samples import StoppingProgress
source, out, method, stop = sys.argv[1:]
settings = {"epochs": 2, "batch_size": 32, "learning_rate": 3e-3}
if method == "prune-weights":
    settings |= {"mode": "regularization", "mask_epochs": 4, "mask_learning_rate": 0.5}
compressed = apply_method(Variant.load(source), method, settings, inputs(), out=Path(out), name="z",
                **({"progress": StoppingProgress(stop)} if stop else {}))
print(compressed.record.sha256, compressed.record.network_sha256)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "stop"), [("prune-weights", "learning masks"), ("qat", "retraining")]
)
def test_training_resumes_in_another_process(source, tmp_path, method, stop):
    def run(seed, out, stop=""):
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", IN_ANOTHER_PROCESS, source.folder,
             tmp_path / out, method, stop],
            env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        return done.stdout if done.returncode == 0 else done.stderr.splitlines()[-1]

    uninterrupted = run("1", "whole")
    assert run("2", "part", f"{stop}, epoch 2") == "KeyboardInterrupt"
    assert run("3", "part") == uninterrupted
