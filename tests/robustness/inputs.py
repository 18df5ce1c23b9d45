"""Small inputs for attacks, and a command line of each verb on them."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ovtool.core.sweep_folder import SweepFolder
from ovtool.core.variant import Variant
from tests.helpers import sweeps
from tests.helpers.owned import write_onnx

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

QUICK = ["--rounds", "3", "--round-s", "0.02", "--max-seconds", "0.1"]
RECIPE = """\
recipe: 1
name: small
model: {source: classifier.onnx}
data: {calibration: {source: samples.npz}}
variants:
  plain: {}
  fp16: {steps: [fp16]}
sweep: {batches: [1], hints: [latency], rounds: 3, round_s: 0.02, max_seconds: 0.1}
"""
PRICES = "currency: EUR\nprices: {'*': 0.1}\n"


def build(folder: Path) -> Path:
    """Write a model, its variant, samples, two sweeps with scripted figures and a recipe."""
    from ovtool import api

    folder.mkdir(parents=True, exist_ok=True)
    model = write_onnx(folder / "classifier.onnx")
    values = np.random.default_rng(0).standard_normal((8, 3, 12, 12)).astype(np.float32)
    np.savez(folder / "samples.npz", x=values, label=np.arange(8) % 5)
    (folder / "recipe.yaml").write_text(RECIPE)
    (folder / "prices.yaml").write_text(PRICES)
    api.convert(model, out=folder / "variant")
    for name in ("sweep", "other"):
        sweeps.whole(folder / name, batches=(1, 2))
    return folder


@dataclass(frozen=True)
class Verb:
    """A command on the inputs, and the check of what it leaves.

    Args:
        arguments: Returns the command line, by the folders of the inputs and of the output.
        check: Raises if the output, which exists, is neither in its old nor its new state.
        before: Writes the old state of the output; by default there is none.
    """

    arguments: Callable[[Path, Path], list[str]]
    check: Callable[[Path], None]
    before: Callable[[Path, Path], None] = lambda *_: None


def _check_variant(out: Path) -> None:
    if out.exists():
        Variant.load(out)


def _check_sweep(out: Path) -> None:
    """A sweep folder can be resumed; with a plan, its rows can be read."""
    if (SweepFolder.create(out).path / "plan.json").exists():
        folder = SweepFolder(out)
        ids = [m.trial.id for m in folder.measurements()]
        assert len(ids) == len(set(ids)), "a trial was measured twice"


def _check_report(out: Path) -> None:
    from PIL import Image
    from pyarrow import parquet

    for path in (p for p in out.rglob("[!.]*") if p.is_file()):
        assert path.stat().st_size, f"{path} is empty"
        if path.suffix == ".html":
            assert path.read_text().rstrip().endswith("</html>"), path
        elif path.suffix == ".svg":
            assert path.read_text().rstrip().endswith("</svg>"), path
        elif path.suffix == ".png":
            Image.open(path).load()
        elif path.suffix == ".parquet":
            parquet.read_table(path)


def _check_markdown(out: Path) -> None:
    if out.exists():
        assert out.read_text().startswith("#")
        assert out.read_text().endswith("\n")


def _check_run(out: Path) -> None:
    for variant in (out / "variants").glob("[!.]*"):
        _check_variant(variant)
    if (out / "sweep").exists():
        _check_sweep(out / "sweep")
    if (out / "index.html").exists():
        _check_report(out)


def _check_nothing(out: Path) -> None:
    assert not out.exists()


def _check_analysis(out: Path) -> None:
    if out.exists():
        assert {p.name for p in out.iterdir()} >= {".ovtool", "layers.csv"}


def _copy(name: str) -> Callable[[Path, Path], None]:
    return lambda inputs, out: shutil.copytree(inputs / name, out) and None


VERBS = {
    "convert": Verb(
        lambda i, o: ["convert", f"{i}/classifier.onnx", "--out", f"{o}"], _check_variant
    ),
    "replace": Verb(
        lambda i, o: ["convert", f"{i}/classifier.onnx", "--out", f"{o}", "--force"],
        lambda out: Variant.load(out) and None,
        _copy("variant"),
    ),
    "compress": Verb(
        lambda i, o: ["compress", f"{i}/variant", "fp16", "--out", f"{o}"], _check_variant
    ),
    "evaluate": Verb(
        lambda i, _: ["evaluate", f"{i}/variant", "--data", f"{i}/samples.npz"], _check_nothing
    ),
    "sweep": Verb(
        lambda i, o: [
            *("sweep", f"{i}/variant", "--out", f"{o}", "--batch", "1,2", "--no-starts"),
            *("--hint", "latency,throughput", *QUICK),
        ],
        _check_sweep,
    ),
    "report": Verb(lambda i, o: ["report", f"{i}/sweep", "--out", f"{o}"], _check_report),
    "choose": Verb(
        lambda i, _: [
            *("choose", f"{i}/sweep", "--objective", "cost", "--prices", f"{i}/prices.yaml"),
        ],
        _check_nothing,
    ),
    "compare": Verb(
        lambda i, o: ["compare", f"{i}/sweep", f"{i}/other", "--out", f"{o}"], _check_markdown
    ),
    "analyze": Verb(lambda i, o: ["analyze", f"{i}/variant", "--out", f"{o}"], _check_analysis),
    "run": Verb(lambda i, o: ["run", f"{i}/recipe.yaml", "--out", f"{o}"], _check_run),
}
"""Commands by name: the verb, or what it does with ``--force``."""


_KEPT = (".ovtool", ".lock", ".ses")
"""The marker of a folder, the lock of a sweep, and the session file of ONNX Runtime."""


def leftovers(*folders: Path) -> list[Path]:
    """Return the temporary and lock files below folders."""
    return sorted(
        path
        for folder in folders
        for path in folder.rglob("*")
        if path.name.startswith((".", "ovtool-", "tmp"))
        and path.name not in _KEPT
        and not any(
            parent.name.startswith((".", "ovtool-"))
            for parent in path.parents
            if parent.is_relative_to(folder) and parent != folder
        )
    )


def clean_as_next_command(*folders: Path) -> None:
    """Do what the next command does first in folders that it writes to."""
    from ovtool.core import temporary

    for folder in folders:
        for each in (folder, *(p for p in folder.rglob("*") if p.is_dir())):
            temporary.remove_abandoned(each)
