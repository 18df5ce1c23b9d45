"""OpenVINO IR: ``x.xml`` and, where the model has constants, ``x.bin``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ovtool.core import files
from ovtool.core.errors import InputError
from ovtool.core.third_party import reason
from ovtool.core.variant import Source
from ovtool.models.source import SourceModel, run_in_openvino

if TYPE_CHECKING:
    from ovtool.models.options import SourceOptions

_HEAD_BYTES = 4096


def read(reference: str, _options: SourceOptions) -> SourceModel:
    """Read an IR.

    Raises:
        InputError: A file is missing, truncated or something else than it is called.
    """
    import openvino as ov

    xml = files.existing_file(reference, "model")
    with xml.open("rb") as stream:
        if b"<net" not in stream.read(_HEAD_BYTES):
            raise InputError(f"not an OpenVINO IR: {xml}", "its XML begins with <net ...>")
    weights = xml.with_suffix(".bin")
    try:
        # Mapped into memory, the file could not be replaced on Windows while the model is in use.
        model = ov.Core().read_model(xml, config={"ENABLE_MMAP": False})
    except RuntimeError as error:
        if not weights.is_file() and "weights" in str(error):
            raise InputError(f"{weights} is missing: {xml} needs its weights") from error
        raise InputError(f"cannot read {xml}: {reason(error)}", "is it complete?") from error
    if not model.outputs:
        raise InputError(f"there is no model in {xml}")
    parts = [xml, weights] if weights.is_file() else [xml]
    return SourceModel(
        source=Source(kind="ir", reference=reference, sha256=files.sha256(*parts)),
        model=model,
        reference=run_in_openvino(model.clone()),
        against="the source IR in OpenVINO",
    )
