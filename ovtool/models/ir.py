"""OpenVINO IR: ``x.xml`` and, for a model with constants, ``x.bin``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ovtool.core import files
from ovtool.core.errors import InputError
from ovtool.core.third_party import read_graph
from ovtool.graph.reference_run import ReferenceModel
from ovtool.models.source import SourceModel, from_files

if TYPE_CHECKING:
    from ovtool.models.options import SourceOptions

_HEAD_BYTES = 4096


def read(reference: str, _options: SourceOptions) -> SourceModel:
    """Read an IR.

    Raises:
        InputError: A file is missing, truncated or not an IR.
    """
    xml = files.existing_file(reference, "model")
    with xml.open("rb") as stream:
        if b"<net" not in stream.read(_HEAD_BYTES):
            raise InputError(f"not an OpenVINO IR: {xml}", "the XML of an IR starts with <net ...>")
    weights = xml.with_suffix(".bin")
    if weights.resolve().parent != xml.resolve().parent:
        raise InputError(
            f"{weights} is a link to a file outside its folder", "copy both files into one folder"
        )
    # Without memory mapping: on Windows a mapped file cannot be replaced.
    model = read_graph(xml, mapped=False)
    if not model.outputs:
        raise InputError(f"{xml} contains no model")
    parts = [xml, weights] if weights.is_file() else [xml]
    runtime = (ReferenceModel(model.clone()).run, "the source IR in OpenVINO")
    return from_files("ir", reference, parts, model, runtime)
