"""Datasets as a user names them, loaded once per preprocessing."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ovtool.core.progress import SILENT, Progress
from ovtool.core.third_party import read_graph
from ovtool.datasets.registry import load_samples

if TYPE_CHECKING:
    import openvino as ov

    from ovtool.core.variant import Variant
    from ovtool.datasets.samples import Samples


@dataclass(frozen=True, slots=True)
class DataSpec:
    """A dataset as a user names it: a folder, an array file, ``sample:NAME`` or ``noise``."""

    source: str
    labels: str | None = None
    limit: int | None = None

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
            progress=progress,
            graph=functools.partial(_read_graph, variant),
        )


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
        key = (variant.record.inputs, variant.record.preprocessing)
        if key not in self._loaded:
            self._loaded[key] = self.spec.load(variant, self.progress)
        return self._loaded[key]

    def description(self, variant: Variant) -> str:
        """Return the dataset's name and its number of samples."""
        samples = self(variant)
        return f"{samples.reference}, {len(samples)} samples"
