"""Running the command line: in this process where that is enough, for it is faster."""

import json
import logging
import signal
import sys
from dataclasses import dataclass

import numpy as np
import pytest

from ovtool.cli.main import main
from tests.compression import outliers
from tests.helpers import graphs as models
from tests.helpers import sweeps

LOG = logging.getLogger("ovtool")


@dataclass(frozen=True)
class Result:
    """Exit code and output of a command."""

    status: int
    out: str
    err: str

    @property
    def document(self):
        """The one JSON document on stdout, without NaN or Infinity."""

        def refuse(name):
            raise AssertionError(f"{name} is not valid JSON")

        return json.loads(self.out, parse_constant=refuse)

    @property
    def errors(self):
        """The lines on stderr from ``error:`` on; the lines before it are progress."""
        lines = self.err.splitlines()
        first = next((i for i, line in enumerate(lines) if line.startswith("error: ")), len(lines))
        return lines[first:]


@pytest.fixture
def ovtool(monkeypatch, capfd):
    """Run ``ovtool ARGUMENTS`` and capture its output, also that of native libraries."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["ovtool", *map(str, arguments)])
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        capfd.readouterr()
        try:
            with pytest.raises(SystemExit) as end:
                main()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            for listening in [h for h in LOG.handlers if isinstance(h, logging.FileHandler)]:
                LOG.removeHandler(listening)
                listening.close()
        return Result(end.value.code or 0, *capfd.readouterr())

    return run


@dataclass(frozen=True)
class Refusal:
    """The error of a command that failed."""

    error: str
    hint: str

    @property
    def text(self):
        """Error and hint."""
        return f"{self.error}\n{self.hint}"


@pytest.fixture
def refused(ovtool, tmp_path):
    """Run a command that must fail: one error, at most one hint, no output, no file written."""

    def run(*arguments, status=2):
        before = sorted(tmp_path.rglob("*"))
        ran = ovtool(*arguments)
        assert ran.status == status, ran
        assert ran.out == ""
        assert "Traceback" not in ran.err
        error, *hint = ran.errors
        assert len(hint) <= 1, ran.err
        assert all(line.startswith("hint: ") for line in hint)
        assert sorted(tmp_path.rglob("*")) == before, "a partial file remains"
        return Refusal(error.removeprefix("error: "), "".join(hint).removeprefix("hint: "))

    return run


@pytest.fixture(scope="session")
def small(tmp_path_factory):
    """A variant of a small real network."""
    folder = tmp_path_factory.mktemp("variants")
    return models.save(folder / "small", models.convolutional())


@pytest.fixture(scope="session")
def swept(tmp_path_factory):
    """A finished sweep with scripted figures."""
    return sweeps.whole(tmp_path_factory.mktemp("sweeps") / "swept", batches=(1, 2))


@pytest.fixture(scope="session")
def fragile(tmp_path_factory):
    """A variant that INT8 damages, with calibration samples and held-out samples."""
    folder = tmp_path_factory.mktemp("fragile")
    for name, seed, count in (("calibration", 1, 100), ("held", 5, 100)):
        rows = [sample.inputs["x"] for sample in outliers.pictures(count, seed)]
        np.savez(folder / f"{name}.npz", x=np.stack(rows))
    outliers.saved(folder / "fragile", "conv")
    return folder
