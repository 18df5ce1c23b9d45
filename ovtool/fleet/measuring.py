"""The process of a host that looks at its devices and measures; its parent is the worker."""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from ovtool.core import temporary
from ovtool.core.errors import InputError
from ovtool.core.sweep_folder import PlannedVariant, SweepPlan
from ovtool.core.sweep_spec import MeasurementSettings
from ovtool.core.trial import Trial
from ovtool.core.variant import Variant, versions
from ovtool.datasets.spec import DataSpec, VariantSamples
from ovtool.devices import discovery
from ovtool.evaluation.metrics import MetricRequest
from ovtool.sweep.measurer import Measurer, SilentObserver
from ovtool.system.child_process import serve

if TYPE_CHECKING:
    from collections.abc import Sequence

_TRIALS: TypeAdapter[tuple[Trial, ...]] = TypeAdapter(tuple[Trial, ...])
_DATA = ("source", "labels", "limit", "part")
_HEALTH_S = 0.1
"""Seconds of the health trial."""


class MeasuringWorker:
    """Answers requests of the worker of a host; each public method handles a request."""

    def __init__(self) -> None:
        self._key = ""
        self._last: Measurer
        self._scratch = ExitStack()

    def describe(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the environment, the versions, the devices, and the health of the CPU."""
        rate, error = _try_inference()
        return {
            "environment": discovery.describe_environment(request["host"]).model_dump(mode="json"),
            "versions": versions(),
            "devices": [asdict(device) for device in discovery.discover()],
            "health_fps": rate,
            "health_error": error,
        }

    def measure(self, request: dict[str, Any]) -> dict[str, Any]:
        """Measure a group of trials of variants in folders; see ``messages.Measure``.

        Raises:
            InputError: The environment changed, or a trial has no variant.
        """
        environment = discovery.describe_environment(request["host"]).id
        if environment != request["environment"]:
            raise InputError(
                f"the environment of this host changed from {request['environment']} to"
                f" {environment} since the sweep began",
                "use another --out; ovtool report accepts both folders",
            )
        trials = _TRIALS.validate_python(request["trials"])
        variants = [Variant.load(Path(folder)) for folder in request["folders"].values()]
        missing = {t.variant for t in trials} - {v.id for v in variants}
        if missing:
            raise InputError(f"the request has no files of variant {', '.join(sorted(missing))}")
        measurer = self._measurer(request, variants, trials)
        evaluated = set(request["evaluated"])
        measurer.evaluated.clear()
        measurer.evaluated |= {t.configuration for t in trials if t.id in evaluated}
        known = {t.id: t for t in trials}  # with the names that the client gave the variants
        measured = [replace(m, trial=known[m.trial.id]) for m in measurer.measure(trials)]
        return {"measurements": [m.to_json() for m in measured]}

    def _measurer(
        self, request: dict[str, Any], variants: Sequence[Variant], trials: Sequence[Trial]
    ) -> Measurer:
        """Return a measurer; the next group gets the same, with the outputs of the baselines.

        With a dataset the plan of the measurer has no trials, so that it fits every group.
        """
        names = ("environment", "settings", "folders", "data")
        devices = sorted({t.device for t in trials})
        key = json.dumps([devices, *(request[name] for name in names)], sort_keys=True)
        if key != self._key:
            self._scratch.close()
            self._scratch, self._key = ExitStack(), key
            scratch = self._scratch.enter_context(temporary.scratch_folder("fleet"))
            data = request["data"]
            baselines = {} if data is None else data["baselines"]
            planned = {v.id: _describe(v, baselines.get(v.id)) for v in variants}
            self._last = Measurer(
                variants,
                SweepPlan(name="fleet", variants=planned, trials=()),
                None if data is None else VariantSamples(DataSpec(*map(data.get, _DATA))),
                MeasurementSettings.model_validate(request["settings"]),
                request["environment"],
                SilentObserver(),
                scratch,
                discovery.find_caveats(devices),
                None if data is None else MetricRequest(data["metric"], tuple(data["outputs"])),
            )
        return self._last


def _describe(variant: Variant, baseline: str | None) -> PlannedVariant:
    return PlannedVariant(
        name=variant.name,
        folder=str(variant.folder),
        model_mib=variant.model_mib,
        compressed=variant.compressed,
        baseline=baseline,
    )


def _try_inference() -> tuple[float | None, str]:
    """Return the inferences per second of a tiny graph on the CPU, or why it fails."""
    import numpy as np
    import openvino as ov
    from openvino import opset13 as ops

    try:
        given = ops.parameter([64, 64], np.float32)
        graph = ov.Model([ops.matmul(given, given, False, False)], [given])
        compiled = ov.Core().compile_model(graph, "CPU")
        request, values = compiled.create_infer_request(), np.eye(64, dtype=np.float32)
        count, started = 0, time.perf_counter()
        while (elapsed := time.perf_counter() - started) < _HEALTH_S:
            (result,) = request.infer([values]).values()
            count += 1
    except (RuntimeError, TypeError, ValueError) as error:
        return None, " ".join(str(error).split())[:300] or type(error).__name__
    if not np.array_equal(result, values):
        return None, "a product of identity matrices is wrong"
    return count / elapsed, ""


if __name__ == "__main__":
    serve(MeasuringWorker)
