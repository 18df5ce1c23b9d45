"""The tokenizer of a language model as OpenVINO graphs, compared with the original."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ovtool.core.companions import DETOKENIZER, TOKENIZER
from ovtool.core.errors import InputError
from ovtool.core.notes import make_note
from ovtool.core.third_party import captured, reason

if TYPE_CHECKING:
    from pathlib import Path

    from ovtool.core.notes import Note

_TEXTS = (
    "The quick brown fox jumps over the lazy dog.",
    " two  spaces,\ttab\nand a line\n\n",
    "Numbers 3.14159, 1,000,000 and 2026-11-30; e-mail a.b@example.org",
    "naïve café, Ελληνικά, 日本語, हिन्दी, 🙂",
    "def f(x):\n    return x ** 2  # code",
    "DON'T shout!!! It's 'quoted' — isn't it?",
)
"""Texts on which the converted tokenizer is compared."""
_SHOWN = 40


def save_tokenizer(tokenizer: Any, folder: Path, *, detokenizer: bool) -> None:
    """Write a tokenizer, its files, and both as OpenVINO graphs.

    ``detokenizer``: whether a model without a detokenizer is an error.

    Raises:
        InputError: openvino-tokenizers does not support this kind of tokenizer.
    """
    import openvino as ov
    from openvino_tokenizers import convert_tokenizer

    kind = type(tokenizer).__name__
    try:
        with captured("the tokenizer"):
            tokenizer.save_pretrained(folder)
            try:
                graphs = convert_tokenizer(tokenizer, with_detokenizer=True)
            except Exception:
                if detokenizer:
                    raise
                graphs = convert_tokenizer(tokenizer)
    except Exception as error:  # the converter raises anything
        raise InputError(
            f"openvino-tokenizers cannot convert the tokenizer {kind}: {reason(error)}",
            "save a fast tokenizer: AutoTokenizer.from_pretrained(folder).save_pretrained(folder)",
        ) from error
    both = graphs if isinstance(graphs, tuple) else (graphs,)
    for graph, name in zip(both, (TOKENIZER, DETOKENIZER), strict=False):
        ov.save_model(graph, folder / name, compress_to_fp16=False)


def compare_tokenizers(tokenizer: Any, folder: Path) -> tuple[Note, ...]:
    """Return a note where the saved graphs and the tokenizer differ on some texts."""
    import openvino as ov
    import openvino_tokenizers  # noqa: F401 # adds its operations to every Core

    core = ov.Core()
    encode = core.compile_model(folder / TOKENIZER, "CPU")
    decode = None
    if (folder / DETOKENIZER).is_file():
        decode = core.compile_model(folder / DETOKENIZER, "CPU")
    different = []
    for text in _TEXTS:
        expected = tokenizer(text)["input_ids"]
        ids = encode([text])["input_ids"]
        wrong = ids[0].tolist() != expected
        if decode is not None and not wrong:
            plain = tokenizer.decode(expected, skip_special_tokens=True)
            wrong = decode(ids)[0][0] != plain
        if wrong:
            different.append(text)
    if not different:
        return ()
    first = repr(different[0][:_SHOWN])
    return (make_note("tokenizer-differs", f"{len(different)} of {len(_TEXTS)} texts: {first}"),)
