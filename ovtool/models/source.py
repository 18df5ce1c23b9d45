"""A source model, as read from every kind of source."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ovtool.core import files
from ovtool.core.errors import InputError
from ovtool.core.third_party import reason
from ovtool.core.variant import Preprocessing, Source
from ovtool.graph.reference_run import ReferenceModel

if TYPE_CHECKING:
    from pathlib import Path

    import openvino as ov

    from ovtool.models.network import Network

Array = NDArray[np.generic]
Inputs = Mapping[str, Array]
Reference = Callable[[Inputs], list[Array]]
"""Runs the source model in its own runtime: inputs by name -> outputs in model order.  Raises
``InputError`` when the source does not accept the inputs."""


@dataclass(frozen=True, slots=True)
class SourceModel:
    """A source that has been read, with a reference run of the original."""

    source: Source
    model: ov.Model
    reference: Reference
    against: str
    """Name and version of the reference runtime, such as ``onnxruntime 1.32.0``."""
    preprocessing: Preprocessing | None = None
    layouts: Mapping[str, str] = field(default_factory=dict)
    network: Network | None = None
    """Trainable network of a torch source."""


def from_files(
    kind: str,
    reference: str,
    parts: Sequence[Path],
    model: ov.Model,
    runtime: tuple[Reference, str],
) -> SourceModel:
    """Return a source read from files, with a hash of all its parts in the record."""
    source = Source(kind=kind, reference=reference, sha256=files.sha256(*parts))
    return SourceModel(source, model, *runtime)


def openvino_runtime(model: ov.Model, why: str, hint: str = "") -> tuple[Reference, str]:
    """Return OpenVINO as the fallback reference runtime, with the reason in its name.

    The fallback only checks the steps after reading the source.
    """
    explanation = f"{why}: {hint}" if hint else why
    return ReferenceModel(model.clone()).run, f"OpenVINO's own reading ({explanation})"


def read_with(frontend: str, path: Path, what: str) -> ov.Model:
    """Read a file with one of OpenVINO's frontends.

    The frontend is explicit: ``Core.read_model`` tries all frontends on an unrecognized file, and
    some of them write to the terminal.

    Raises:
        InputError: The file has another format, is truncated, or contains an operation that
            OpenVINO does not support.
    """
    import openvino as ov

    reader = ov.frontend.FrontEndManager().load_by_framework(frontend)
    failures: tuple[type[Exception], ...] = (RuntimeError, *_frontend_failures())
    try:
        model: ov.Model = reader.convert(reader.load(str(path)))
    except failures as error:
        why = reason(error)
        hint = "the file may be incomplete" if "parse" in why else ""
        raise InputError(f"cannot read {path} as {what}: {why}", hint) from error
    if not model.outputs:
        raise InputError(f"cannot read {path} as {what}: the model has no outputs")
    return model


def _frontend_failures() -> tuple[type[Exception], ...]:
    """Return the exceptions of OpenVINO's frontends, which share no narrower base class."""
    import openvino as ov

    named = [getattr(ov.frontend, name) for name in dir(ov.frontend) if name.endswith("Failure")]
    return tuple(error for error in named if issubclass(error, Exception))
