"""Runs of a recipe, complete and repeated."""

import os
import subprocess
import sys

import numpy as np
import pytest

from ovtool import api
from ovtool.compression import compress as compression
from ovtool.core import files, steps
from ovtool.core.errors import InputError, LimitNotMetError
from ovtool.core.sweep_folder import JOURNAL, SweepFolder
from ovtool.results.table import load_results
from tests.helpers.owned import write_onnx
from tests.helpers.quantized_models import samples, save_mlp, write_qdq

RECIPE = """\
recipe: 1
name: small
model: {source: SOURCE}
data:
  calibration: {source: unlabelled.npz}
  evaluation: {source: labelled.npz, limit: 20}
variants:
  fp32: {precisions: [default]}
  int8: {steps: [int8: {subset_size: 8}]}
  fp16-int8: {steps: [fp16, int8]}
sweep: {batches: [1], hints: [latency], rounds: 3, round_s: 0.03, max_seconds: 0.5}
choose: {objective: latency}
"""


@pytest.fixture(scope="module")
def recipe(owned):
    """A recipe next to its files."""
    path = owned.folder / "small.yaml"
    path.write_text(RECIPE.replace("SOURCE", owned.onnx.name))
    return path


@pytest.fixture(scope="module")
def done(recipe, tmp_path_factory):
    return api.run(recipe, out=tmp_path_factory.mktemp("run") / "out")


def state(folder):
    paths = [p for p in folder.rglob("*") if p.is_file()]
    return {p: (p.stat().st_mtime_ns, files.sha256(p)) for p in paths}


@pytest.mark.slow
def test_a_recipe_runs_every_step(done):
    assert [v.name for v in done.variants] == ["fp32", "int8", "fp16-int8-1-fp16", "fp16-int8"]
    assert [s.method for s in done.variants[3].record.steps] == ["fp16", "int8"]
    assert (done.sweep.measured, done.sweep.failed, done.sweep.reused) == (4, 0, 0)
    assert done.report.page.is_file()
    assert done.no_choice is None
    assert done.choice.objective == "latency"
    precisions = {
        (row.trial.variant_name, row.trial.precision)
        for row in SweepFolder(done.sweep.folder).measurements()
    }
    assert precisions >= {("fp32", "default"), ("int8", "default")}


@pytest.mark.slow
def test_a_repeated_run_reuses_everything(recipe, done):
    variants = state(done.folder / "variants")
    journal = (done.sweep.folder / JOURNAL).read_bytes()
    again = api.run(recipe, out=done.folder)
    assert (again.sweep.measured, again.sweep.reused) == (0, 4)
    assert state(done.folder / "variants") == variants
    assert (again.sweep.folder / JOURNAL).read_bytes() == journal
    assert again.choice.winner["trial"] == done.choice.winner["trial"]


@pytest.mark.slow
def test_an_unmet_limit_still_writes_the_report(recipe, done):
    strict = recipe.with_name("strict.yaml")
    strict.write_text(recipe.read_text() + "  max_latency_ms: 0.000001\n")
    strict.write_text(strict.read_text().replace("{objective: latency}\n", "\n"))
    result = api.run(strict, out=done.folder)
    assert result.choice is None
    assert result.no_choice.exit_code == 1
    assert result.no_choice.nearest is not None
    assert result.report.page.is_file()


def test_a_recipe_imports_code_only_with_trust(owned, tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text(RECIPE.replace("SOURCE", owned.torch))
    with pytest.raises(InputError, match="classifier_in_torch:make") as caught:
        api.run(path, out=tmp_path / "out")
    assert "--trust" in caught.value.hint
    assert not (tmp_path / "out").exists()


def test_a_baseline_imports_code_only_with_trust(recipe, owned, tmp_path):
    path = recipe.with_name("code.yaml")
    path.write_text(recipe.read_text().replace("sweep: {", f"sweep: {{baseline: {owned.torch}, "))
    with pytest.raises(InputError, match="classifier_in_torch:make") as caught:
        api.run(path, out=tmp_path / "out")
    assert "--trust" in caught.value.hint
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_quantized_source_is_compared_with_the_baseline(tmp_path):
    source = save_mlp(tmp_path / "mlp.onnx")
    write_qdq(source, tmp_path / "qdq.onnx")
    np.savez(tmp_path / "held-out.npz", x=samples(50, seed=3))
    path = tmp_path / "r.yaml"
    path.write_text(
        "recipe: 1\nname: q\nmodel: {source: qdq.onnx, tolerance: 0.2}\n"
        "data: {evaluation: {source: held-out.npz, metric: agreement}}\nvariants: {int8: {}}\n"
        "sweep: {baseline: mlp.onnx, hints: [latency],"
        " rounds: 3, round_s: 0.03, max_seconds: 0.5}\n"
    )
    result = api.run(path, out=tmp_path / "out")
    rows = {row["variant"]: row for row in load_results([result.sweep.folder]).records}
    assert set(rows) == {"mlp", "int8"}
    assert rows["mlp"]["agreement_top1"] == 1
    assert rows["int8"]["output_cosine"] < 1


def test_an_unknown_device_fails_before_the_compression(recipe, tmp_path):
    path = recipe.with_name("device.yaml")
    path.write_text(recipe.read_text().replace("sweep: {", "sweep: {devices: [XPU], "))
    with pytest.raises(InputError, match="'XPU'"):
        api.run(path, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_only_changed_variants_are_rebuilt_and_measured(owned, tmp_path):
    write_onnx(tmp_path / "net.onnx")
    for name in ("labelled.npz", "unlabelled.npz"):
        (tmp_path / name).write_bytes((owned.folder / name).read_bytes())
    path = tmp_path / "small.yaml"
    steps = "int8-weights: {steps: [weights: {mode: MODE}]}"
    text = RECIPE.replace("SOURCE", "net.onnx").replace("fp16-int8: {steps: [fp16, int8]}", steps)
    path.write_text(text.replace("MODE", "int8_asym"))
    first = api.run(path, out=tmp_path / "out")

    path.write_text(text.replace("MODE", "int8_sym"))
    second = api.run(path, out=tmp_path / "out")
    assert (second.sweep.measured, second.sweep.reused) == (1, 2)
    ids = [[v.id for v in result.variants] for result in (first, second)]
    assert ids[0][:2] == ids[1][:2]
    assert ids[0][2] != ids[1][2]
    table = load_results([second.sweep.folder])
    assert len(table.rows) == 3  # removed variants have no rows
    assert "earlier-plan" in [note.id for note in table.notes]

    write_onnx(tmp_path / "net.onnx", seed=5)
    third = api.run(path, out=tmp_path / "out")
    assert (third.sweep.measured, third.sweep.reused) == (3, 0)


@pytest.mark.slow
def test_a_sweep_does_not_mix_samples(recipe, done, owned):
    other = recipe.with_name("other.yaml")
    other.write_text(recipe.read_text().replace("limit: 20", "limit: 10"))
    before = (done.sweep.folder / JOURNAL).read_bytes()
    with pytest.raises(InputError, match=r"\b20 .*\b10 "):
        api.run(other, out=done.folder)
    assert (done.sweep.folder / JOURNAL).read_bytes() == before


TWO_VARIANTS = RECIPE.replace("fp16-int8: {steps: [fp16, int8]}", "half: {steps: [fp16]}")


def rows_by_variant(folder):
    return {m.trial.variant_name: m for m in SweepFolder(folder).measurements()}


@pytest.mark.slow
def test_a_variant_whose_compression_ended_the_process_is_a_failed_row(
    owned, tmp_path, monkeypatch
):
    """The command that the supervisor started again, after crashes in two steps."""
    path = owned.folder / "crashed.yaml"
    text = TWO_VARIANTS.replace("SOURCE", owned.onnx.name)
    steps_of_two = "chain: {steps: [fp16: {}, weights: {}]}\n  big: {steps: [weights]}\n  half:"
    strict = "strict: {steps: [weights: {mode: int8_sym}]}\n  half:"
    path.write_text(text.replace("half:", steps_of_two).replace("half:", strict))
    out = tmp_path / "out"
    board = steps.Board()
    for name in ("int8", "chain-1-fp16"):
        board.write("attempt", str(out / "variants" / name))
        assert board.fail_attempt(f"compressing {name}: SIGSEGV")
    monkeypatch.setattr(steps, "board", board)
    compress = compression.compress

    def limited(*arguments, out, **options):
        if out.name == "big":
            raise MemoryError
        if out.name == "strict":
            raise LimitNotMetError("no quantization holds the limit")
        return compress(*arguments, out=out, **options)

    monkeypatch.setattr(compression, "compress", limited)
    result = api.run(path, out=out)
    rows = rows_by_variant(result.sweep.folder)
    assert {name: row.status for name, row in rows.items()} == {
        "fp32": "ok", "int8": "failed", "chain": "failed", "big": "failed", "strict": "failed",
        "half": "ok",
    }  # fmt: skip
    assert rows["int8"].reason == "compressing int8: SIGSEGV"
    assert rows["chain"].reason == "compressing chain-1-fp16: SIGSEGV"
    assert "memory" in rows["big"].reason
    assert rows["strict"].reason == "no quantization holds the limit"
    assert result.choice.winner["variant"] in {"fp32", "half"}
    page = result.report.page.read_text()
    assert "compressing int8: SIGSEGV" in page
    again = api.run(path, out=out)
    assert (again.sweep.measured, again.sweep.failed, again.sweep.reused) == (0, 0, 6)


FAULTY = """
import os, signal
from ovtool.system import supervisor
supervisor.supervise()
from ovtool.compression.methods import quantization
def fault(*arguments):
    os.kill(os.getpid(), signal.SIGSEGV)
quantization.ptq.quantize = fault
from ovtool.cli.main import main
main()
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the supervisor needs Linux")
def test_a_crash_of_a_compression_costs_its_own_row(owned, tmp_path):
    path = owned.folder / "crash.yaml"
    path.write_text(TWO_VARIANTS.replace("SOURCE", owned.onnx.name))
    out = tmp_path / "out"
    ran = subprocess.run(
        [sys.executable, "-c", FAULTY, "run", str(path), "--out", str(out)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    rows = rows_by_variant(out / "sweep")
    assert {name: row.status for name, row in rows.items()} == {
        "fp32": "ok", "int8": "failed", "half": "ok",
    }  # fmt: skip
    assert "SIGSEGV" in rows["int8"].reason
    assert list(out.glob("*.html"))
    lines = ran.stderr.splitlines()  # the command that was started again repeats none
    assert len(lines) == len(set(lines)), lines
    assert str(out / "variants" / "fp32") not in ran.stderr  # nor says that it is reused
