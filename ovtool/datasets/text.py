"""Text as data: windows of tokens for a text generator, lines for an encoder.

The converted tokenizer beside the graph makes the tokens.  A part ``N/M`` of a text is the Nth of M
consecutive stretches, not a random one: windows of a stretch share no token with those of another.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ovtool.core import files, units
from ovtool.core.companions import (
    BEAM,
    IDS,
    MASK,
    POSITIONS,
    TOKENIZER,
    is_text_generator,
    read_positions,
)
from ovtool.core.errors import InputError, MissingDependencyError
from ovtool.core.input_limits import require_memory
from ovtool.core.registry import missing_package, package_folder
from ovtool.core.system_errors import reading
from ovtool.datasets.samples import LazySamples, LoadRequest, Sample, numpy_type, parse_part

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from ovtool.core.notes import Note
    from ovtool.core.ports import Port

WINDOW = 256
"""Tokens of a sample of a text generator."""
MAX_LINE = 512
"""Largest number of tokens of a line for an encoder with an open length."""
MIN_TOKENS = 256
"""Fewest tokens of a text: fewer say more of the text than of the model."""
_BYTES_PER_CHARACTER = 48
"""Memory of the tokens of a text, with the tensors of the tokenizer."""
_CONTROLS = frozenset(range(32)) - {*b"\t\n\v\f\r\x1b"}
_BYTE_ORDER_MARKS = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}
_SHOWN = 30


@dataclass(frozen=True, slots=True)
class TextSamples:
    """A text as samples of a text generator: windows of tokens that do not overlap.

    Args:
        reference: Name of the text, as given by the user.
        tokens: All tokens of the text.
        window: Tokens of a sample.
        inputs: The inputs of the model.
    """

    reference: str
    tokens: NDArray[np.int64]
    window: int
    inputs: tuple[Port, ...]

    @property
    def labelled(self) -> bool:
        """Whether every sample has a label: a text has none beside its tokens."""
        return False

    @property
    def notes(self) -> tuple[Note, ...]:
        """Warnings about the samples for the model."""
        return ()

    def __len__(self) -> int:
        """Return the number of windows; tokens after the last whole one are left out."""
        return len(self.tokens) // self.window

    def __iter__(self) -> Iterator[Sample]:
        """Return the windows, each without the tokens before it."""
        places = np.arange(self.window)
        for index in range(len(self)):
            tokens = self.tokens[index * self.window : (index + 1) * self.window]
            values = {
                IDS: tokens,
                MASK: np.ones_like(tokens),
                POSITIONS: places,
                BEAM: np.zeros((), np.int64),
            }
            inputs = {p.name: values[p.name].astype(numpy_type(p)) for p in self.inputs}
            yield Sample(inputs, None, f"window {index + 1} of {self.reference}")


def load(request: LoadRequest) -> TextSamples | LazySamples[int]:
    """Return the samples of a text file in UTF-8.

    Raises:
        InputError: The file is no text in UTF-8 or too short, or the model does not read text.
        MissingDependencyError: openvino-tokenizers is not installed.
    """
    return make_samples(request, read_text(Path(request.reference)))


def lee(request: LoadRequest) -> TextSamples | LazySamples[int]:
    """Return the news articles of Lee et al. 2005 that the package gensim has, as a text.

    Lee, Pincombe, Welsh, "An empirical evaluation of models of text document similarity", 2005.

    Raises:
        MissingDependencyError: gensim is not installed, or lacks the file.
    """
    name = request.reference.partition(":")[2].replace("-", "_")
    folder = package_folder(request.reference, "gensim", None, "gensim==4.4.0")
    path = folder / "test" / "test_data" / f"{name}.cor"
    if not path.is_file():
        raise MissingDependencyError(
            f"the installed gensim lacks the text of {request.reference}",
            "pip install --no-deps gensim==4.4.0",
        )
    with reading(path):
        return make_samples(request, path.read_bytes().decode("latin-1"))


def make_samples(request: LoadRequest, text: str) -> TextSamples | LazySamples[int]:
    """Return a text as samples for a model: windows for a text generator, lines for an encoder.

    Raises:
        InputError: The text is too short, or the model has no tokenizer or other inputs.
        MissingDependencyError: openvino-tokenizers is not installed.
    """
    folder = request.folder
    if folder is None or not (folder / TOKENIZER).is_file():
        listed = ", ".join(port.name for port in request.inputs)
        raise InputError(
            f"{request.reference} is a text; the model has no tokenizer (inputs: {listed})",
            "convert the folder of a language model with its tokenizer, or give arrays (.npz)",
        )
    if is_text_generator(request.inputs):
        return _read_windows(request, text, folder)
    return _read_lines(request, text, folder)


def read_text(path: Path) -> str:
    """Return the content of a text file in UTF-8, with or without a byte order mark.

    Raises:
        InputError: The file is missing, empty, binary, or in another encoding, which is named.
    """
    path = files.existing_file(path, "text")
    require_memory(_BYTES_PER_CHARACTER * path.stat().st_size, f"the text {path}")
    with reading(path):
        content = path.read_bytes()
    if not content.strip():
        raise InputError(f"the text {path} is empty", "give a text of the kind the model will read")
    mark = _BYTE_ORDER_MARKS.get(content[:2])
    if mark is not None:
        raise InputError(f"{path} is a text in {mark}, not UTF-8", _convert(mark))
    if control := next((byte for byte in content if byte in _CONTROLS), None):
        place = content.index(control)
        raise InputError(
            f"{path} is not a text: byte {control:#04x} at position {place}", "give a file of text"
        )
    if 0 in content:
        raise InputError(
            f"{path} is not a text: a zero byte at position {content.index(0)}",
            "give a file of text; one in UTF-16 must become UTF-8",
        )
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        start = max(0, error.start - _SHOWN // 2)
        around = content[start : start + _SHOWN].decode("latin-1").split("\n")
        nearby = next((line for line in around if not line.isascii()), around[0]).strip()
        raise InputError(
            f"{path} is not in UTF-8: byte {content[error.start]:#04x} at position {error.start};"
            f" Latin-1 reads {nearby!r} there",
            _convert("latin1"),
        ) from error


def _convert(encoding: str) -> str:
    return f"convert it: iconv -f {encoding} -t utf-8 FILE > utf8.txt"


def tokenize(folder: Path, texts: Sequence[str]) -> dict[str, NDArray[Any]]:
    """Return the tokens of texts as [texts, length] by input name, padded at the end.

    Raises:
        MissingDependencyError: openvino-tokenizers is not installed.
        InputError: The tokenizer is damaged.
    """
    import openvino as ov

    try:
        import openvino_tokenizers  # noqa: F401 # adds its operations to every Core
    except ModuleNotFoundError as error:
        raise missing_package("a text as data", error, "llm") from error
    try:
        compiled = ov.Core().compile_model(folder / TOKENIZER, "CPU")
        result = compiled(list(texts))
    except RuntimeError as error:
        raise InputError(f"{folder / TOKENIZER} is damaged", "convert the source again") from error
    return {port.get_any_name(): np.array(result[port]) for port in compiled.outputs}


def _read_windows(request: LoadRequest, text: str, folder: Path) -> TextSamples:
    if request.labels is not None:
        raise InputError(f"a text has no labels: {request.reference}", "remove --labels")
    tokens = tokenize(folder, [text])[IDS][0].astype(np.int64)
    total = len(tokens)
    window = min(WINDOW, read_positions(folder) or WINDOW)
    if request.part is not None:
        number, parts = parse_part(request.part)
        tokens = tokens[total * (number - 1) // parts : total * number // parts]
    if request.limit is not None:
        tokens = tokens[: max(request.limit * window, MIN_TOKENS)]
    if len(tokens) < MIN_TOKENS:
        of = f" in part {request.part}" if request.part else ""
        raise InputError(
            f"{request.reference} has {units.count_text(len(tokens), 'token')}{of}; at least"
            f" {MIN_TOKENS} are necessary",
            "give a longer text of the kind that the model will read",
        )
    return TextSamples(request.reference, tokens, window, request.inputs)


def _read_lines(request: LoadRequest, text: str, folder: Path) -> LazySamples[int]:
    lines = request.subset([line.strip() for line in text.splitlines() if line.strip()])
    tokens = tokenize(folder, lines)
    if missing := [port.name for port in request.inputs if port.name not in tokens]:
        raise InputError(
            f"{request.reference} is a text; its tokenizer does not make the input {missing[0]}",
            f"it makes {', '.join(tokens)}; give arrays (.npz)",
        )
    lengths = [port.shape[-1] for port in request.inputs if port.shape[-1] > 0]
    longest = min(read_positions(folder) or MAX_LINE, MAX_LINE, tokens[IDS].shape[1])
    length = lengths[0] if lengths else longest

    def read(index: int) -> Sample:
        rows = {p.name: tokens[p.name][index, :length] for p in request.inputs}
        inputs = {
            p.name: np.pad(rows[p.name], (0, length - len(rows[p.name]))).astype(numpy_type(p))
            for p in request.inputs
        }
        return Sample(inputs, None, f"line {index + 1}: {lines[index][:_SHOWN]!r}")

    return LazySamples(request.reference, range(len(lines)), read, labelled=False)
