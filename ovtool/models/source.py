"""What every kind of source is read into, and running a graph exactly as it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ovtool.core.errors import InputError
from ovtool.core.third_party import reason
from ovtool.core.variant import Preprocessing, Source, ports

if TYPE_CHECKING:
    from pathlib import Path

    import openvino as ov

    from ovtool.models.network import Network

Array = NDArray[np.generic]
Inputs = Mapping[str, Array]
Reference = Callable[[Inputs], list[Array]]
"""Runs the source itself: input name to array -> outputs, in the order of the model's.  Raises
``InputError`` when the source does not take such inputs."""

EXACT = {
    "INFERENCE_PRECISION_HINT": "f32",
    "EXECUTION_MODE_HINT": "ACCURACY",
    "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0",
}
"""Settings under which the CPU calculates what the graph says and nothing less precise."""


@dataclass(frozen=True, slots=True)
class SourceModel:
    """A source that has been read, and what runs the original to compare with."""

    source: Source
    model: ov.Model
    reference: Reference
    against: str
    """What ``reference`` is, in words: ``onnxruntime 1.32.0``."""
    preprocessing: Preprocessing | None = None
    layouts: Mapping[str, str] = field(default_factory=dict)
    network: Network | None = None
    """What can be trained, where the source is a torch module."""


def own_reading(model: ov.Model, because: str, hint: str = "") -> tuple[Reference, str]:
    """Return the reference, and its description, where the source's own runtime cannot be used.

    What it tells apart is only what was done after reading; so the description says why.
    """
    untouched = model.clone()
    shown = f"{because}: {hint}" if hint else because
    return run_in_openvino(untouched), f"OpenVINO's own reading ({shown})"


def run_in_openvino(model: ov.Model) -> Reference:
    """Return a function that runs a graph on the CPU in f32; it is compiled when first called."""
    names = [port.name for port in ports(model)["inputs"]]
    compiled: list[Any] = []

    def run(inputs: Inputs) -> list[Array]:
        import openvino as ov

        try:
            if not compiled:
                compiled.append(ov.Core().compile_model(model, "CPU", EXACT))
            results = compiled[0]([inputs[name] for name in names])
        except RuntimeError as error:
            raise InputError(f"OpenVINO cannot run the model: {reason(error)}") from error
        return [np.array(results[i]) for i in range(len(compiled[0].outputs))]

    return run


def read_with(frontend: str, path: Path, what: str) -> ov.Model:
    """Read a file with one of OpenVINO's frontends.

    The frontend is named, because ``Core.read_model`` tries them all on a file it does not
    recognise, and some of them write to the terminal what they think of it.

    Raises:
        InputError: The file is not of that format, truncated, or has an operation that OpenVINO
            does not know.
    """
    import openvino as ov

    reader = ov.frontend.FrontEndManager().load_by_framework(frontend)
    failures: tuple[type[Exception], ...] = (RuntimeError, *_frontend_failures())
    try:
        model: ov.Model = reader.convert(reader.load(str(path)))
    except failures as error:
        why = reason(error)
        hint = "is the file complete?" if "parse" in why else ""
        raise InputError(f"cannot read {path} as {what}: {why}", hint) from error
    if not model.outputs:
        raise InputError(f"cannot read {path} as {what}: there is no model in it")
    return model


def _frontend_failures() -> tuple[type[Exception], ...]:
    """Return what OpenVINO's frontends raise; these derive from nothing narrower than Exception."""
    import openvino as ov

    named = [getattr(ov.frontend, name) for name in dir(ov.frontend) if name.endswith("Failure")]
    return tuple(error for error in named if issubclass(error, Exception))
