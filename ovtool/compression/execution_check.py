"""Running a saved model once, before it is called done."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ovtool.core.errors import InputError
from ovtool.core.variant import ports
from ovtool.datasets.samples import batches, random_sample, sample_axis

if TYPE_CHECKING:
    from collections.abc import Sequence

    import openvino as ov

    from ovtool.core.progress import Progress
    from ovtool.core.variant import Port, Variant
    from ovtool.datasets.samples import Samples

# Sizes given to open dimensions when there is no sample: of images, of anything else.
_OPEN_IMAGE, _OPEN_OTHER = 224, 16
_SEED = 0


def runs_once(
    model: ov.Model, parent: Variant, samples: Samples | None, progress: Progress
) -> None:
    """Run a model on the CPU once and check that its outputs are finite.

    It runs on the first sample, or on seeded random values: also where its inputs have other
    shapes than the parent's, which samples are of.  Where open dimensions had to be guessed and
    the parent cannot run on that guess either, this is said and nothing is claimed.

    Raises:
        InputError: It does not run, or an output has NaN or infinity and the parent's has not.
    """
    inputs = ports(model)["inputs"]
    reshaped = [p.shape for p in inputs] != [p.shape for p in parent.record.inputs]
    feed = _feed(inputs, parent, None if reshaped else samples)
    trouble = _trouble(model, feed)
    if trouble is None:
        return
    if reshaped or _trouble(_read(parent), feed) is None:
        raise InputError(
            f"the compressed model {trouble}",
            "leave more layers as they are, or use other settings",
        )
    if samples is not None:
        raise InputError(f"variant {parent.name} {trouble}, before any compression")
    progress.note(f"warning: not checked by a run: on random values {parent.name} itself {trouble}")


def _read(variant: Variant) -> ov.Model:
    import openvino as ov

    return ov.Core().read_model(variant.xml)


def _feed(
    inputs: Sequence[Port], parent: Variant, samples: Samples | None
) -> dict[int, np.typing.NDArray[Any]]:
    sample = next(iter(samples)) if samples is not None else None
    if sample is None:
        sample = random_sample([_closed(port, parent) for port in inputs], _SEED)
    axis = sample_axis(inputs[0])
    size = 1 if axis is None else max(1, inputs[0].shape[axis])
    batch = next(batches([sample], inputs, size))
    return {index: batch.inputs[port.name] for index, port in enumerate(inputs)}


def _closed(port: Port, parent: Variant) -> Port:
    """Return a port whose open dimensions have a size: the image's where one is recorded."""
    recorded = parent.record.preprocessing
    height, width = (recorded and recorded.size) or (_OPEN_IMAGE, _OPEN_IMAGE)
    sizes = {"H": height, "W": width}
    letters = port.layout or "?" * len(port.shape)
    shape = tuple(
        sizes.get(letter, _OPEN_OTHER) if size < 0 else size
        for letter, size in zip(letters, port.shape, strict=False)
    )
    return port.model_copy(update={"shape": shape})


def _trouble(model: ov.Model, feed: dict[int, np.typing.NDArray[Any]]) -> str | None:
    """Return what is wrong with a run of a model, as the end of a sentence; None if nothing is."""
    import openvino as ov

    try:
        compiled = ov.Core().compile_model(model, "CPU")
        outputs = compiled(feed).to_tuple()
    except RuntimeError as error:
        return f"does not run: {str(error).strip().splitlines()[-1]}"
    for port, values in zip(compiled.outputs, outputs, strict=True):
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            name = next(iter(sorted(port.get_names())), "the only output")
            return f"gives NaN or infinity at {name}"
    return None
