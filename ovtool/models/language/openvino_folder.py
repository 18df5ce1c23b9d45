"""IR folders with a tokenizer, as optimum-intel and this tool write them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ovtool.core import files
from ovtool.core.companions import (
    LANGUAGE_STEM,
    TOKENIZER,
    copy_companions,
    read_positions,
)
from ovtool.core.errors import InputError
from ovtool.core.third_party import read_graph
from ovtool.core.variant import Source
from ovtool.models import ir
from ovtool.models.language.decoder import LOGITS, GraphDecoder, is_decoder
from ovtool.models.language.decoder_check import check_decoder
from ovtool.models.language.huggingface import reject_options
from ovtool.models.source import Companions, SourceModel

if TYPE_CHECKING:
    import openvino as ov

    from ovtool.models.check_verdict import CheckedConversion
    from ovtool.models.options import SourceOptions

MODEL = f"{LANGUAGE_STEM}.xml"
_SUFFIXES = frozenset({".json", ".txt", ".model", ".jinja", ".tiktoken"})
_TOKENIZER_FILES = tuple(
    f"openvino_{kind}.{suffix}"
    for kind in ("tokenizer", "detokenizer")
    for suffix in ("xml", "bin")
)


def read(reference: str, options: SourceOptions) -> SourceModel:
    """Read a folder with ``openvino_model.xml``, a converted tokenizer and the configuration.

    Raises:
        InputError: The folder has no tokenizer, or a file is damaged.
    """
    folder = Path(reference)
    if not (folder / TOKENIZER).is_file():
        raise InputError(
            f"{folder} has no tokenizer: {TOKENIZER} is missing",
            f"write it with convert_tokenizer of openvino-tokenizers, or convert {folder / MODEL}",
        )
    names = [path.name for path in sorted(folder.iterdir()) if path.is_file()]
    kept = [name for name in names if name in _TOKENIZER_FILES or Path(name).suffix in _SUFFIXES]
    companions = Companions(LANGUAGE_STEM, copy_companions(folder, kept))
    plain = ir.read(str(folder / MODEL), options)
    parts = [folder / name for name in (MODEL, f"{LANGUAGE_STEM}.bin", *kept)]
    digest = files.sha256(*(path for path in parts if path.is_file()))
    source = Source(kind="openvino-folder", reference=reference, sha256=digest)
    if not is_decoder(plain.model):
        return replace(plain, source=source, companions=companions)
    reject_options(options, reference)
    original = read_graph(folder / MODEL, mapped=False)

    def check(xml: Path, options: SourceOptions) -> CheckedConversion:
        vocabulary = _vocabulary(plain.model)
        positions = read_positions(folder)
        source_run = GraphDecoder(original)
        return check_decoder(
            xml, source_run, plain.against, options, vocabulary, positions=positions
        )

    return SourceModel(
        source=source,
        model=plain.model,
        reference=None,
        against=plain.against,
        own_check=check,
        companions=companions,
    )


def _vocabulary(model: ov.Model) -> int:
    size = model.output(LOGITS).get_partial_shape()[-1]
    if size.is_dynamic:
        raise InputError("the number of logits of openvino_model.xml is open")
    return int(size.get_length())
