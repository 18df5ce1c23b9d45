"""``ovtool run``: a recipe of five steps that is killed resumes and ends with the same files."""

import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from ovtool.core.variant import Variant

CODE = """
import torch
def make():
    torch.manual_seed(3)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(1, 16, 3), torch.nn.BatchNorm2d(16), torch.nn.ReLU(),
        torch.nn.Conv2d(16, 16, 3), torch.nn.BatchNorm2d(16), torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(16, 3))
    return net, torch.zeros(1, 1, 12, 12)
"""
RECIPE = """
recipe: 1
name: five
model: {source: "five_steps_net:make"}
data:
  training: {source: train.npz}
  calibration: {source: train.npz, limit: 32}
  validation: {source: held.npz}
  evaluation: {source: held.npz}
variants:
  small:
    steps:
      - train: {epochs: 3, learning_rate: 0.02}
      - prune-channels: {ratio: 0.25, epochs: 1}
      - prune-weights: {ratio: 0.5, epochs: 8}
      - train: {epochs: 2, soft: 1}
      - int8: {max_drop: 0.2, subset_size: 32, effort: none}
sweep: {devices: [CPU], batches: [1], hints: [latency], rounds: 3, round_s: 0.05, max_seconds: 0.2}
"""
STEPS = (
    "small-1-train",
    "small-2-prune-channels",
    "small-3-prune-weights",
    "small-4-train",
    "small",
)


@pytest.fixture
def recipe_folder(tmp_path, monkeypatch):
    (tmp_path / "five_steps_net.py").write_text(CODE)
    (tmp_path / "five.yaml").write_text(RECIPE)
    rng = np.random.default_rng(0)
    for name, count in (("train", 600), ("held", 90)):
        labels = np.arange(count) % 3
        x = rng.standard_normal((count, 1, 12, 12)).astype(np.float32)
        np.savez(tmp_path / f"{name}.npz", input=x + labels[:, None, None, None], label=labels)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(out):
    return [sys.executable, "-m", "ovtool", "run", "five.yaml", "--out", out, "--trust"]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_a_killed_recipe_ends_with_the_same_files(recipe_folder):
    started = subprocess.Popen(run("a"), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    folder = recipe_folder / "a" / "variants"
    deadline = time.monotonic() + 240
    while (
        not list(folder.glob(".small-3-prune-weights.*.part/retraining.pt"))
        and time.monotonic() < deadline
    ):
        assert started.poll() is None, "the recipe ended before it could be killed"
        time.sleep(0.02)
    started.send_signal(signal.SIGKILL)
    started.wait()
    assert not (folder / "small-3-prune-weights").exists()
    again = subprocess.run(run("a"), check=False, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert "small-2-prune-channels: " in again.stderr
    assert "epoch" in again.stderr
    # Rounding depends on the number of threads, so the second run is a process too.
    subprocess.run(run("b"), check=True, capture_output=True)
    for name in STEPS:
        a, b = (Variant.load(recipe_folder / out / "variants" / name) for out in "ab")
        assert a.record.sha256 == b.record.sha256, name
    assert not list(folder.glob(".*"))
