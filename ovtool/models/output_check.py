"""Check of a saved conversion: its outputs against the source's on the same inputs."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ovtool.core.conversion_check import ConversionCheck
from ovtool.core.errors import InputError
from ovtool.core.notes import make_note
from ovtool.core.ports import ports
from ovtool.core.third_party import read_graph
from ovtool.models import check_inputs, size_check
from ovtool.models.check_inputs import CheckInputs, Variation
from ovtool.models.check_verdict import (
    DEFAULT_TOLERANCE,
    CheckedConversion,
    run_unchecked,
    unchecked_notes,
)
from ovtool.models.difference_cause import CLIP, explain_overflow
from ovtool.models.inputs import batch_axis, inputs_text, with_batch, with_shape_hint
from ovtool.models.output_judge import OutputJudge, RejectedError
from ovtool.models.size_check import FixedSizeError
from ovtool.models.source import RuntimeUnavailableError
from ovtool.models.special_inputs import special_inputs

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import openvino as ov

    from ovtool.core.notes import Note
    from ovtool.datasets.samples import Samples
    from ovtool.models.options import SourceOptions
    from ovtool.models.size_check import OpenDimension, Shapes
    from ovtool.models.source import Inputs, Reference, SourceModel

BATCHES = (2, 5)
"""Batches that are checked besides the one at which the source was read."""
_INTEGER_STEPS = (2**62, 2**31 - 1, 2**24)
"""Largest integers that are tried in inputs that accept all integers, above ``SMALL``."""


def compare_with_source(
    xml: Path, source: SourceModel, options: SourceOptions, samples: Samples | None = None
) -> CheckedConversion:
    """Compare a saved IR's outputs with the source's on the same inputs.

    The inputs are the user's samples if given, and random ones in the valid ranges of the graph:
    several batches and masks, other sizes of every open dimension, and large integers.  Outputs
    that are empty, one value or NaN on all of these get further inputs.

    Raises:
        FixedSizeError: The outputs agree only at the sizes at which the source was read.
        InputError: An output differs by more than the tolerance and the source's own error, is not
            finite while the source's is, has another shape, or a model does not run.
    """
    # Without memory mapping: on Windows a mapped file prevents renaming its folder.
    model = read_graph(xml, mapped=False)
    if source.reference is None:
        return run_unchecked(model, source, options)
    try:
        return _Check(model, source, source.reference, options, samples).run()
    except RuntimeUnavailableError as error:
        return run_unchecked(model, replace(source, why_unchecked=str(error)), options)


class _Check:
    """One comparison of a converted model with its source."""

    def __init__(
        self,
        model: ov.Model,
        source: SourceModel,
        reference: Reference,
        options: SourceOptions,
        samples: Samples | None,
    ) -> None:
        self._model, self._source, self._options = model, source, options
        self._samples = samples
        self._judge = OutputJudge(model, source, reference, options.tolerance or DEFAULT_TOLERANCE)
        self._compare = self._judge.compare
        self._inputs = CheckInputs(model, options.seed, options.values)
        self._notes: list[Note] = []

    def run(self) -> CheckedConversion:
        """Try inputs until every output is compared."""
        base = check_inputs.base_shapes(self._source)
        for inputs in check_inputs.sample_inputs(
            self._inputs, self._model, self._samples, self._options.values
        ):
            self._require(inputs, "the source does not run on the samples")
        sampled = len(self._judge.tried)
        self._check_batches(base)
        for variation in check_inputs.FURTHER:
            if all(output.status in {"checked", "random"} for output in self._judge.outputs):
                break
            self._attempt(self._inputs.draw(base, variation))
        for variation in check_inputs.INTEGERS if self._inputs.has_free_integers else ():
            self._attempt(self._inputs.draw(base, variation))
        self._check_sizes(base)
        maxima, notes = self._check_integers(base)
        self._check_special(base)
        if self._judge.kernel_error:
            self._notes.append(make_note("integer-kernels-differ", self._judge.kernel_error))
        if self._judge.undefined_error is not None:
            casts = "; ".join(self._judge.undefined.values())
            if not all(output.random or output.comparisons for output in self._judge.outputs):
                raise InputError(f"{self._judge.undefined_error}; values of the cast {casts}", CLIP)
            self._notes.append(make_note("cast-undefined", casts))
        texts = [f"{self._samples.reference}: " if self._samples and sampled else ""]
        texts += ["; ".join(self._judge.tried[:sampled]), "; " if sampled else ""]
        texts += [f"random, seed {self._options.seed}: {'; '.join(self._judge.tried[sampled:])}"]
        check = ConversionCheck(
            against=self._source.against,
            tolerance=self._judge.tolerance,
            inputs="".join(texts),
            differences=tuple(output.to_record() for output in self._judge.outputs),
        )
        unchecked = unchecked_notes(check, list(self._judge.random_names))
        return CheckedConversion(check, (*unchecked, *self._notes, *notes), maxima)

    def _check_batches(self, base: Shapes) -> None:
        """Compare the first batch, then others, which are larger if the batch is dynamic."""
        first = self._inputs.draw(base, check_inputs.FIRST[0])
        try:
            error = self._compare(first)
        except RejectedError as rejected:
            error = None
            if not self._judge.tried:
                self._retry_first(base, rejected.error)
        if error is not None:
            raise explain_overflow(error, self._model, first)
        accepted = True
        variations: tuple[Variation, ...] = check_inputs.FIRST[1:]
        if any(self._judge.resolutions):
            # Outside the calibrated range, 8-bit kernels may saturate, each in its own way.
            variations = tuple(replace(variation, scale=1) for variation in variations)
        for batch, variation in zip(BATCHES, variations, strict=True):
            larger = with_batch(self._model, base, batch=batch) if accepted else base
            inputs = self._inputs.draw(larger, variation)
            try:
                error = self._compare(inputs)
            except RejectedError:
                accepted, error = False, None
                self._judge.tried.append(
                    f"not {inputs_text(inputs)}, which the source does not accept"
                )
                self._attempt(self._inputs.draw(base, variation))
            if error is not None and variation.mask == "head" and self._inputs.masks:
                other = self._inputs.draw(larger, replace(variation, mask="tail"))
                if self._compare(other) is None:
                    names = ", ".join(self._inputs.masks)
                    self._notes.append(make_note("mask-limited", f"{names}: {error}"))
                    continue
            if error is not None:
                self._attempt(self._inputs.draw(base, variation))  # raises if it is not the batch
                axes = [(n, a) for n, a in self._batch_axes().items() if a is not None]
                raise FixedSizeError(base, axes, str(error)) if larger != base else error

    def _retry_first(self, base: Shapes, error: InputError) -> None:
        """Try other values of the first shapes; raise the error if the source rejects all."""
        for variation in check_inputs.FURTHER[:2]:
            if self._attempt(self._inputs.draw(base, variation)):
                return
        raise with_shape_hint(error, base) from error

    def _check_sizes(self, base: Shapes) -> None:
        """Compare other sizes of the open dimensions, together and one by one."""
        axes = self._batch_axes()
        dimensions = size_check.open_dimensions(self._model, base, axes)
        for alternatives in size_check.JOINT_FACTORS if dimensions else ():
            for factor in alternatives:
                error = self._size_error(size_check.resize(base, dimensions, factor))
                if isinstance(error, InputError):
                    raise self._fixed(base, dimensions, factor, error)
                if error is None:
                    break
        tied: dict[tuple[OpenDimension, ...], None] = {}
        for single in size_check.separately(dimensions):
            error = self._size_error(size_check.resize(base, single, 1.5))
            if isinstance(error, InputError):
                equal = size_check.equal_sizes(dimensions, single[0])
                if not equal or self._size_error(size_check.resize(base, equal, 1.5)) is not None:
                    raise self._fixed(base, single, 1.5, error)
                tied[equal] = None
        self._notes += [make_note("sizes-tied", ", ".join(d.text for d in e)) for e in tied]

    def _fixed(
        self, base: Shapes, dimensions: Sequence[OpenDimension], factor: float, error: InputError
    ) -> FixedSizeError:
        """Return the error that names the dimensions that must keep their size."""
        culprits = [
            d
            for single in size_check.separately(dimensions)
            for d in single
            if isinstance(self._size_error(size_check.resize(base, single, factor)), InputError)
        ]
        places = [(d.name, d.axis) for d in culprits or dimensions]
        return FixedSizeError(base, places, str(error))

    def _size_error(self, shapes: Shapes) -> InputError | bool | None:
        """Return how outputs of other sizes disagree, None if they agree, False if rejected."""
        try:
            return self._compare(self._inputs.draw(shapes, Variation(mask="ones")))
        except RejectedError:
            return False

    def _check_integers(self, base: Shapes) -> tuple[dict[str, int], list[Note]]:
        """Return the largest integers that agree, for inputs that the conversion narrows."""
        wide = self._inputs.wide
        failed: InputError | None = None
        top = check_inputs.SMALL
        for step in _INTEGER_STEPS if wide else ():
            ranges = {name: (0, min(step, maximum)) for name, maximum in wide.items()}
            try:
                error = self._compare(self._inputs.draw(base, Variation(), ranges), record=False)
            except RejectedError:
                continue
            if error is None:
                top = step
                break
            failed = error
        if failed is None:
            return {}, []
        maxima = {name: top for name, maximum in wide.items() if maximum > top}
        difference = str(failed).partition(";")[0]
        evidence = f"{', '.join(maxima)}: right up to {top}; above, {difference}"
        return maxima, [make_note("integers-limited", evidence)]

    def _check_special(self, base: Shapes) -> None:
        """Compare special values where they reach an output; differences are notes."""
        limits: dict[str, dict[str, list[str]]] = {}
        drawn = self._inputs.draw(base, Variation(mask="ones"))
        for special in special_inputs(self._model, drawn, self._inputs.masks):
            try:
                error = self._compare(special.inputs, record=False)
            except RejectedError:
                continue
            if error is not None:
                places = limits.setdefault(special.kind, {})
                places.setdefault(special.place, []).append(special.values)
        for kind, places in limits.items():
            texts = [f"{place}: {', '.join(values)}" for place, values in places.items()]
            self._notes.append(make_note(f"{kind}-limited", "; ".join(texts)))

    def _require(self, inputs: Inputs, what: str) -> None:
        """Compare the user's inputs, which the source must accept."""
        try:
            error = self._compare(inputs)
        except RejectedError as rejected:
            raise InputError(f"{what}: {rejected.error}", rejected.error.hint) from rejected.error
        if error is None:
            return
        for name, array in inputs.items():
            largest = int(np.abs(array).max(initial=0)) if array.dtype.kind in "iu" else 0
            if largest >= 2**31:
                raise InputError(
                    f"{name} has integers up to {largest}, and {error}",
                    "OpenVINO computes 64-bit integers in 32 bits: reduce them before the model",
                )
        raise explain_overflow(error, self._model, inputs)

    def _attempt(self, inputs: Inputs) -> bool:
        """Compare all outputs; return whether the source accepts the inputs."""
        try:
            error = self._compare(inputs)
        except RejectedError:
            return False
        if error is not None:
            raise explain_overflow(error, self._model, inputs)
        return True

    def _batch_axes(self) -> dict[str, int | None]:
        names = [port.name for port in ports(self._model)["inputs"]]
        return {n: batch_axis(p) for n, p in zip(names, self._model.inputs, strict=True)}
