"""Samples as a user names them, loaded once for each preprocessing."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ovtool.core.progress import SILENT, Progress

if TYPE_CHECKING:
    from ovtool.core.variant import Variant
    from ovtool.datasets.samples import Samples


@dataclass(frozen=True, slots=True)
class DataSpec:
    """Samples as a user names them: a folder, an array file, ``sample:NAME`` or ``noise``."""

    source: str
    labels: str | None = None
    limit: int | None = None

    def load(self, variant: Variant, progress: Progress = SILENT) -> Samples:
        """Return the samples, preprocessed for a variant.

        Raises:
            InputError: There are none, or one is damaged; the message names the file.
        """
        from ovtool import datasets

        return datasets.load(
            self.source,
            variant.record.inputs,
            variant.record.preprocessing,
            labels=Path(self.labels) if self.labels else None,
            limit=self.limit,
            progress=progress,
        )


@dataclass(slots=True)
class SamplesOf:
    """Samples by variant: those of one preprocessing are loaded once."""

    spec: DataSpec
    progress: Progress = SILENT
    _loaded: dict[object, Samples] = field(default_factory=dict)

    def __call__(self, variant: Variant) -> Samples:
        """Return the samples, preprocessed for a variant; raises as :meth:`DataSpec.load`."""
        key = (variant.record.inputs, variant.record.preprocessing)
        if key not in self._loaded:
            self._loaded[key] = self.spec.load(variant, self.progress)
        return self._loaded[key]

    def described(self, variant: Variant) -> str:
        """Return what they are and how many."""
        samples = self(variant)
        return f"{samples.reference}, {len(samples)} samples"
