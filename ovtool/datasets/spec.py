"""Datasets as a user names them, loaded once per preprocessing."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from ovtool.core.companions import TOKENIZER
from ovtool.core.errors import InputError
from ovtool.core.progress import SILENT, Progress
from ovtool.core.third_party import read_graph
from ovtool.datasets.registry import load_samples

if TYPE_CHECKING:
    import openvino as ov

    from ovtool.core.variant import Variant
    from ovtool.datasets.samples import Samples


@dataclass(frozen=True, slots=True)
class DataSpec:
    """A dataset as a user names it: a folder, a file, ``sample:NAME`` or ``noise``.

    ``part`` such as ``1/2`` is a random part, of a text a stretch; parts of one dataset share no
    sample.
    """

    source: str
    labels: str | None = None
    limit: int | None = None
    part: str | None = None

    def load(self, variant: Variant, progress: Progress = SILENT) -> Samples:
        """Return the samples, preprocessed for a variant.

        Raises:
            InputError: The dataset is empty or damaged; the message names the file.
        """
        return load_samples(
            self.source,
            variant.record.inputs,
            variant.record.preprocessing,
            labels=Path(self.labels) if self.labels else None,
            limit=self.limit,
            part=self.part,
            progress=progress,
            graph=functools.partial(_read_graph, variant),
            folder=variant.folder if variant.record.companions else None,
        )


@overload
def as_data_spec(
    data: DataSpec | str | Path, labels: str | Path | None = None, limit: int | None = None
) -> DataSpec: ...
@overload
def as_data_spec(
    data: DataSpec | str | Path | None,
    labels: str | Path | None = None,
    limit: int | None = None,
) -> DataSpec | None: ...
def as_data_spec(
    data: DataSpec | str | Path | None,
    labels: str | Path | None = None,
    limit: int | None = None,
) -> DataSpec | None:
    """Return a dataset with its labels and the limit of its samples; None without data.

    Raises:
        InputError: There are labels without data.
    """
    if data is None:
        if labels is not None:
            raise InputError("--labels needs --data")
        return None
    spec = data if isinstance(data, DataSpec) else DataSpec(str(data))
    given: dict[str, Any] = {"labels": None if labels is None else str(labels), "limit": limit}
    return replace(spec, **{name: value for name, value in given.items() if value is not None})


def _read_graph(variant: Variant) -> ov.Model:
    # Without memory mapping: on Windows a mapped file prevents replacing its folder.
    return read_graph(variant.xml, mapped=False)


@dataclass(slots=True)
class VariantSamples:
    """The samples of one dataset by variant, loaded once per preprocessing."""

    spec: DataSpec
    progress: Progress = SILENT
    _loaded: dict[object, Samples] = field(default_factory=dict)

    def __call__(self, variant: Variant) -> Samples:
        """Return the samples, preprocessed for a variant; raises as :meth:`DataSpec.load`."""
        record = variant.record
        key = (record.inputs, record.preprocessing, record.companions.get(TOKENIZER))
        if key not in self._loaded:
            self._loaded[key] = self.spec.load(variant, self.progress)
        return self._loaded[key]

    def description(self, variant: Variant) -> str:
        """Return the dataset's name and its number of samples."""
        samples = self(variant)
        part = f", part {self.spec.part}" if self.spec.part else ""
        return f"{samples.reference}{part}, {len(samples)} samples"
