"""A source model, as read from every kind of source."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ovtool.core import files, steps
from ovtool.core.companions import STEM, Stem
from ovtool.core.errors import InputError
from ovtool.core.third_party import reason
from ovtool.core.variant import Source

if TYPE_CHECKING:
    from pathlib import Path

    import openvino as ov

    from ovtool.core.notes import Note
    from ovtool.core.ports import Preprocessing
    from ovtool.models.check_verdict import CheckedConversion
    from ovtool.models.inputs import Symbols
    from ovtool.models.network import Network
    from ovtool.models.options import SourceOptions

_LACKING = re.compile(r"No conversion rule found for operations: (.+)")
"""OpenVINO's report of operators that a frontend does not know."""

Array = NDArray[np.generic]
Inputs = Mapping[str, Array]
Reference = Callable[[Inputs], list[Array]]
"""Runs the source model in its own runtime: inputs by name -> outputs in model order.  Raises
``InputError`` when the source does not accept the inputs."""


class RuntimeUnavailableError(InputError):
    """A reference cannot run the source on any inputs: its outputs are then not checked."""


Runtime = tuple[Reference | None, str]
"""The reference run and the name of its runtime; or None, and why nothing can run the source."""


@dataclass(frozen=True, slots=True)
class DeclaredOutput:
    """An output as the source's file declares it."""

    shape: tuple[int, ...] | None = None
    """-1 is an open dimension; None is an unknown rank."""
    dtype: str | None = None
    """OpenVINO's name of the type, such as ``f32``; None if unknown."""


@dataclass(frozen=True, slots=True)
class Companions:
    """The files of a language model beside its IR, which other programs read."""

    stem: Stem = STEM
    """Name of the IR without its suffix."""
    write: Callable[[Path], None] | None = None
    """Writes the files into the folder of the variant."""
    check: Callable[[Path], tuple[Note, ...]] = lambda _: ()
    """Returns notes on the written files."""


@dataclass(frozen=True, slots=True)
class SourceModel:
    """A source that has been read, with a reference run of the original."""

    source: Source
    model: ov.Model
    reference: Reference | None
    """None if nothing but OpenVINO can run the source: its outputs are then not checked."""
    against: str
    """Name and version of the reference runtime, such as ``onnxruntime 1.32.0``; empty without."""
    why_unchecked: str = ""
    """Why there is no reference run, with what to install; empty with one."""
    second: Reference | None = None
    """The source with other rounding, such as ONNX Runtime without graph optimizations: its
    distance from ``reference`` is the source's own error.  Called only if the outputs differ."""
    random_operations: Callable[[Inputs], list[str]] | None = None
    """Names of the operations of a run that draw random numbers; None if unknown."""
    declared: Mapping[str, DeclaredOutput] = field(default_factory=dict)
    """Outputs that the file declares, by any of the names of the converted output."""
    notes: tuple[Note, ...] = ()
    """Warnings from reading the source; they stay with the variant."""
    preprocessing: Preprocessing | None = None
    layouts: Mapping[str, str] = field(default_factory=dict)
    symbols: Symbols = field(default_factory=dict)
    """Names of the dimensions of inputs, where the source has names."""
    network: Network | None = None
    """Trainable network of a torch source."""
    companions: Companions = Companions()
    own_check: Callable[[Path, SourceOptions], CheckedConversion] | None = None
    """Checks the saved graph in place of the check on random inputs, for a text generator: its
    inputs depend on each other and on the steps before.  Its batch is dynamic."""

    def accepts(self, inputs: Inputs) -> bool:
        """Whether the source runs on some inputs; True if nothing can run it."""
        if self.reference is None:
            return True
        try:
            self.reference(inputs)
        except InputError as error:
            return isinstance(error, RuntimeUnavailableError)
        return True


def from_files(
    kind: str,
    reference: str,
    parts: Sequence[Path],
    model: ov.Model,
    runtime: Runtime,
    second: Reference | None = None,
    declared: Mapping[str, DeclaredOutput] | None = None,
) -> SourceModel:
    """Return a source read from files, with a hash of all its parts in the record."""
    reference_run, text = runtime
    return SourceModel(
        source=Source(kind=kind, reference=reference, sha256=files.sha256(*parts)),
        model=model,
        reference=reference_run,
        against="" if reference_run is None else text,
        why_unchecked=text if reference_run is None else "",
        second=second,
        declared=declared or {},
    )


def no_runtime(why: str, hint: str = "") -> Runtime:
    """Return that nothing can run the source, and why: the outputs are not checked."""
    return None, f"{why}: {hint}" if hint else why


def read_with(
    frontend: str,
    path: Path,
    what: str,
    content: bytes | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
) -> ov.Model:
    """Read a file with one of OpenVINO's frontends.

    Args:
        frontend: OpenVINO's name of the frontend.
        path: The file or folder.
        what: The format, for errors.
        content: Content to read in place of that of the file.
        shapes: Requested shapes of inputs, -1 for a dynamic dimension.  Some operations are
            converted only if the rank or a size of their inputs is known, so a model that fails
            with the shapes of the file is read again with these.

    The frontend is explicit: ``Core.read_model`` tries all frontends on an unrecognized file, and
    some of them write to the terminal.

    Raises:
        InputError: The file has another format, is truncated, or contains an operation that
            OpenVINO does not support.
    """
    import openvino as ov

    failures: tuple[type[Exception], ...] = (RuntimeError, *_frontend_failures())
    open_inputs: list[str] = []
    try:
        with steps.limited(f"reading {path}", path):
            reader = ov.frontend.FrontEndManager().load_by_framework(frontend)
            opened = reader.load(str(path) if content is None else io.BytesIO(content))
            open_inputs = _open_inputs(opened, failures)
            try:
                model: ov.Model = reader.convert(opened)
            except failures:
                if not shapes:
                    raise
                opened = reader.load(str(path) if content is None else io.BytesIO(content))
                _set_shapes(opened, shapes)
                model = reader.convert(opened)
    except UnicodeDecodeError as error:  # OpenVINO quotes the file in its error
        raise InputError(f"cannot read {path} as {what}: text that is not UTF-8") from error
    except failures as error:
        why = reason(error)
        raise InputError(
            f"cannot read {path} as {what}: {why}", _hint(error, open_inputs)
        ) from error
    if not model.outputs:
        raise InputError(f"cannot read {path} as {what}: the model has no outputs")
    return model


def _open_inputs(opened: Any, failures: tuple[type[Exception], ...]) -> list[str]:
    """Return the names of the inputs with an open shape, of a model that is not converted yet."""
    names = []
    failures = (*failures, ValueError)  # min() of a place without names
    for place in opened.get_inputs():
        try:
            if opened.get_partial_shape(place).is_dynamic:
                names.append(min(place.get_names()))
        except failures:  # not every frontend tells the shape
            continue
    return names


def _hint(error: BaseException, open_inputs: Sequence[str]) -> str:
    """Return what to do about a model that a frontend cannot convert; empty if unknown."""
    text = str(error)
    if "parse" in reason(error):
        return "the file may be incomplete"
    lacking = _LACKING.search(text)
    if lacking is None or "Conversion is failed" in text:
        return _shape_hint(open_inputs)
    if re.search(r"\bQ(Linear|Gemm|Attention|Embed|Order)", lacking[1]):
        return (
            "OpenVINO lacks these quantized operators: quantize to QDQ, or convert the float model"
        )
    return "OpenVINO lacks these operators: export the model without them"


def _shape_hint(names: Sequence[str]) -> str:
    """Return which shapes the conversion of a model may lack; empty if all inputs have one."""
    options = " ".join(f"--shape {name}=..." for name in names)
    return f"an operation may need sizes that the file leaves open: {options}" if names else ""


def _set_shapes(opened: Any, shapes: Mapping[str, Sequence[int]]) -> None:
    """Set the shapes of the inputs of a model that is not converted yet.

    A name that no input has is reported later, with the names of the inputs.
    """
    import openvino as ov

    for place in opened.get_inputs():
        for name in place.get_names():
            if name in shapes:
                opened.set_partial_shape(place, ov.PartialShape(list(shapes[name])))


def _frontend_failures() -> tuple[type[Exception], ...]:
    """Return the exceptions of OpenVINO's frontends, which share no narrower base class."""
    import openvino as ov

    named = [getattr(ov.frontend, name) for name in dir(ov.frontend) if name.endswith("Failure")]
    return tuple(error for error in named if issubclass(error, Exception))
