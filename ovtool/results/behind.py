"""What is behind a row of the table and is no column of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ovtool.core.notes import Note
    from ovtool.core.shapes import Named


@dataclass(frozen=True, slots=True)
class Behind:
    """What is behind a row and is no column: how to run it again, and remarks on it.

    Args:
        properties: OpenVINO properties it was compiled with.
        notes: Of its measurement.
        folder: Of its variant, where the sweep was run; None where the plan does not say.
        shapes: (input name, dimensions) that it was compiled with instead of its own.
        open_shapes: Whether dimensions stayed open when it was compiled.
        baseline: Id of its uncompressed variant; None where the sweep has none.
    """

    properties: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[Note, ...] = ()
    folder: str | None = None
    shapes: Named = ()
    open_shapes: bool = False
    baseline: str | None = None
