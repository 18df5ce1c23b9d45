"""Results as runs of MLflow, with a client of our own and with the real one."""

import importlib.util
import json
import sys
import types
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import pytest

from ovtool.core.errors import InputError, MissingDependencyError
from ovtool.report import tracking
from ovtool.report.write import report
from ovtool.results.table import load_results
from ovtool.selection.choice import choose_from
from tests.helpers import sweeps


class Metric(NamedTuple):
    """As ``mlflow.entities.Metric``."""

    key: str
    value: float
    timestamp: int
    step: int


class Param(NamedTuple):
    """As ``mlflow.entities.Param``."""

    key: str
    value: str


@dataclass
class Run:
    """A run as the fake client keeps it."""

    name: str
    tags: dict
    params: dict = field(default_factory=dict)
    metrics: dict = field(default_factory=dict)
    artifacts: dict = field(default_factory=dict)
    status: str = "RUNNING"


class Client:
    """The methods of ``MlflowClient`` that are called, in memory."""

    def __init__(self):
        self.experiments, self.runs = {}, {}

    def get_experiment_by_name(self, name):
        id_ = self.experiments.get(name)
        return None if id_ is None else SimpleNamespace(experiment_id=id_)

    def create_experiment(self, name):
        return self.experiments.setdefault(name, str(len(self.experiments)))

    def create_run(self, experiment, run_name, tags):
        assert experiment in self.experiments.values()
        run_id = f"r{len(self.runs)}"
        self.runs[run_id] = Run(run_name, tags)
        return SimpleNamespace(info=SimpleNamespace(run_id=run_id))

    def log_batch(self, run_id, metrics, params):
        self.runs[run_id].metrics |= {m.key: m.value for m in metrics}
        self.runs[run_id].params |= {p.key: p.value for p in params}

    def log_artifact(self, run_id, path, folder):
        self.runs[run_id].artifacts[f"{folder}/{Path(path).name}"] = Path(path).read_bytes()

    def set_terminated(self, run_id, status="FINISHED"):
        self.runs[run_id].status = status


@pytest.fixture
def client(monkeypatch):
    """A client, and a package ``mlflow`` that has it."""
    made = Client()
    package, entities = types.ModuleType("mlflow"), types.ModuleType("mlflow.entities")
    package.MlflowClient = lambda _: made
    entities.Metric, entities.Param = Metric, Param
    monkeypatch.setitem(sys.modules, "mlflow", package)
    monkeypatch.setitem(sys.modules, "mlflow.entities", entities)
    return made


@pytest.fixture
def folder(tmp_path):
    """A sweep with measured rows, an estimate and a failure."""
    first, second, third, *_ = sweeps.trials(batches=(1,), loads=("latency",))
    npu = sweeps.trials(batches=(1,), loads=("latency",), devices=("NPU.4000",))[0]
    measurements = [
        sweeps.measure(first), sweeps.measure(second),
        sweeps.failed(third, "out of memory"), sweeps.estimate(npu, 3.5),
    ]  # fmt: skip
    return sweeps.make(tmp_path / "mixed", measurements)


@pytest.mark.slow
@pytest.mark.usefixtures("local_renderer")
def test_each_row_is_a_run_below_that_of_the_report(client, folder, tmp_path):
    files = report([folder], out=tmp_path / "out", mlflow=True)
    table = load_results([folder])
    parent, *children = client.runs.values()
    assert files.tracked.rows == len(children) == len(table.rows) == 4
    assert {c.tags["mlflow.parentRunId"] for c in children} == {files.tracked.run_id}
    assert parent.status == "FINISHED"
    measured = [c for c in children if c.tags["ovtool.status"] == "measured"]
    for run, row in zip(measured, table.rows.query("status == 'measured'").iloc, strict=True):
        assert run.params["variant"] == row["variant"]
        assert run.params["batch"] == "1"
        for name in ("throughput_fps", "throughput_fps_ci_low", "throughput_fps_ci_high"):
            assert run.metrics[name] == row[name]
    choice = choose_from(table)
    assert parent.params["chosen.variant"] == choice.winner["variant"]
    assert parent.metrics["chosen.throughput_fps"] == choice.winner["throughput_fps"]
    assert parent.artifacts["report/index.html"] == files.page.read_bytes()
    assert f"report/charts/{files.charts[0].name}" in parent.artifacts
    columns = json.loads(parent.artifacts["report/columns.json"])
    assert columns["throughput_fps"]["unit"] == "samples/s"


def test_an_estimate_is_never_logged_as_a_measurement(client, folder):
    tracking.track(client, load_results([folder]), None, [])
    (run,) = (r for r in client.runs.values() if r.tags.get("ovtool.status") == "estimated")
    assert run.name.startswith("ESTIMATE ")
    assert run.metrics["latency_estimate_ms"] == 3.5
    assert not [n for n in run.metrics if n.startswith(("latency_p", "latency_m", "throughput"))]


def test_a_failed_row_is_a_failed_run_with_its_reason(client, folder):
    tracking.track(client, load_results([folder]), None, [])
    (run,) = (r for r in client.runs.values() if r.tags.get("ovtool.status") == "failed")
    assert (run.status, run.metrics) == ("FAILED", {})
    assert "out of memory" in run.tags["ovtool.reason"]


@pytest.mark.slow
def test_an_experiment_is_used_again(client, folder, monkeypatch):
    monkeypatch.setenv(tracking.EXPERIMENT, "speed")
    table = load_results([folder])
    assert tracking.track(client, table, None, []).experiment == "speed"
    tracking.track(client, table, None, [])
    assert list(client.experiments) == ["speed"]


def test_an_error_fails_the_run_and_names_the_server(client, folder, monkeypatch):
    def refuse(*_):
        raise ConnectionError("no\nroute")

    monkeypatch.setattr(client, "log_artifact", refuse)
    monkeypatch.setenv(tracking.TRACKING_URI, "http://tracking:5000")
    with pytest.raises(InputError, match="http://tracking:5000: no route"):
        tracking.track(client, load_results([folder]), None, [])
    assert client.runs["r0"].status == "FAILED"


def test_without_the_package_there_is_an_install_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(MissingDependencyError) as raised:
        tracking.require_mlflow()
    assert "ovtool[mlflow]" in raised.value.hint


@pytest.mark.parametrize(
    ("uri", "store"),
    [
        (None, "mlruns"),
        ("runs/here", "runs/here"),
        ("file:///srv/runs%20a", "/srv/runs a"),
        ("sqlite:///here/mlflow.db", "here"),
        ("sqlite:////srv/mlflow.db", "/srv"),
        ("http://tracking:5000", None),
        ("databricks", "databricks"),
    ],
)
def test_the_folder_of_a_local_store_may_be_written(monkeypatch, tmp_path, uri, store):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(tracking.TRACKING_URI, raising=False)
    if uri is not None:
        monkeypatch.setenv(tracking.TRACKING_URI, uri)
    assert tracking.local_store() == (None if store is None else tmp_path / store)


@pytest.mark.skipif(
    importlib.util.find_spec("mlflow") is None, reason="ovtool[mlflow] is not installed"
)
@pytest.mark.filterwarnings("ignore")  # of mlflow itself
@pytest.mark.slow
@pytest.mark.usefixtures("local_renderer")
def test_the_real_package_keeps_the_runs(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(tracking.TRACKING_URI, raising=False)
    files = report([folder], out=tmp_path / "out", mlflow=True)
    client = tracking.require_mlflow()
    experiment = client.get_experiment_by_name(tracking.DEFAULT_EXPERIMENT)
    runs = client.search_runs([experiment.experiment_id])
    parent = client.get_run(files.tracked.run_id)
    children = [r for r in runs if r.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    assert len(children) == 4
    names = {run.info.run_name for run in children}
    assert sum(name.startswith("ESTIMATE ") for name in names) == 1
    table = load_results([folder]).rows
    for run in children:
        if run.data.tags["ovtool.status"] == "measured":
            row = table[table["trial"] == run.data.params["trial"]].iloc[0]
            assert run.data.metrics["throughput_fps"] == pytest.approx(row["throughput_fps"])
    listed = {item.path for item in client.list_artifacts(parent.info.run_id, "report")}
    assert {"report/index.html", "report/charts", "report/columns.json"} <= listed
    assert (tmp_path / "mlruns").is_dir()
