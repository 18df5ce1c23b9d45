"""A report of a sweep with everything that is awkward in a page."""

import pytest

from ovtool.report.write import report
from ovtool.results.table import load_results
from tests.helpers import sweeps
from tests.helpers.in_process import use_local_renderer
from tests.helpers.report_pages import HOSTILE

HOSTILE_MODEL = sweeps.Model(HOSTILE, 4.0, {"default": 3.0}, (48, 50))


@pytest.fixture(scope="session")
def written(tmp_path_factory):
    """Table and report of a sweep with a hostile name, a failed row and a missing device."""
    root = tmp_path_factory.mktemp("w")
    models = (*sweeps.MODELS, HOSTILE_MODEL)
    measurements = [
        sweeps.with_quality(sweeps.measure(t, models), next(m for m in models if m.id == t.variant))
        for t in sweeps.trials(models, batches=(1, 4))
    ]
    measurements[-1] = sweeps.failed(measurements[-1].trial, f"died of {HOSTILE}")
    folder = sweeps.make(root / "s", measurements, models, unavailable=[("NPU", HOSTILE)])
    (root / "out").mkdir()
    (root / "out" / "notes.txt").write_text("kept")
    with pytest.MonkeyPatch.context() as patch:
        use_local_renderer(patch)
        return load_results([folder]), report([folder], out=root / "out")
