"""The graph of a bundle: fixed shapes, and the arithmetic of the preprocessing of images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ovtool.core.errors import InputError
from ovtool.core.ports import Port, Preprocessing, fix_shapes, ports
from ovtool.core.third_party import read_graph, reason
from ovtool.datasets.samples import numpy_type

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    import openvino as ov
    from numpy.typing import NDArray

    from ovtool.benchmark.session import Job
    from ovtool.core.shapes import Shape
    from ovtool.core.variant import Variant
    from ovtool.datasets.image_transform import ImageTransform


def save_graph(
    variant: Variant, job: Job, transform: ImageTransform | None, target: Path
) -> tuple[Shape, ...]:
    """Save the graph of a variant in the shapes of a job; return the shapes of its outputs.

    With a transform, the input is raw pixels of RGB or gray images, u8 [batch, height, width,
    channels]: channel order, mean and scale are in the graph.

    Raises:
        InputError: The model keeps state, or does not support the shapes.
    """
    import openvino as ov

    model = read_graph(variant.xml)
    if model.get_sinks():
        raise InputError(
            f"{variant.name} keeps state between inferences: bundles do not support it",
            "use the program of ovtool choose --snippet",
        )
    fix_shapes(model, tuple(zip(job.names, job.shapes, strict=True)), variant.name)
    if transform is not None:
        model = _with_preprocessing(model, transform)
    ov.save_model(model, target, compress_to_fp16=False)
    target.with_suffix(".bin").touch()  # OpenVINO writes no .bin for a model without constants
    return tuple(port.shape for port in ports(model)["outputs"])


def _with_preprocessing(model: ov.Model, transform: ImageTransform) -> ov.Model:
    """Return a graph whose input is raw pixels."""
    import openvino as ov
    from openvino.preprocess import PrePostProcessor

    processor = PrePostProcessor(model)
    images = processor.input()
    images.tensor().set_element_type(ov.Type.u8).set_layout(ov.Layout("NHWC"))
    images.model().set_layout(ov.Layout("NCHW" if transform.channels_first else "NHWC"))
    steps = images.preprocess()
    if transform.steps.channels == "BGR":
        steps.reverse_channels()
    if numpy_type(transform.port).kind == "f":
        steps.convert_element_type(ov.Type.f32)
        if transform.mean.any():
            steps.mean(_values(transform.mean))
        if (transform.scale != 1).any():
            steps.scale(_values(transform.scale))
    try:
        return processor.build()
    except RuntimeError as error:
        raise InputError(f"the preprocessing does not fit the graph: {reason(error)}") from error


def _values(values: NDArray[np.float32]) -> Any:
    return values.tolist() if len(values) > 1 else float(values[0])


def raw_port(transform: ImageTransform) -> Port:
    """Return the input of a graph with preprocessing."""
    channels = 1 if transform.steps.channels == "L" else 3
    shape = (-1, *transform.size, channels)
    return Port(name=transform.port.name, shape=shape, dtype="u8", layout="NHWC")


def raw_steps(transform: ImageTransform) -> Preprocessing:
    """Return the preprocessing that is left outside of the graph: crop and resize."""
    # An image of the input's size stays as it is where no resizing is recorded.
    unrecorded = transform.keeps_ready and transform.steps.resize == "crop"
    return Preprocessing(
        size=transform.size,
        resize=None if unrecorded else transform.steps.resize,
        crop_fraction=transform.steps.crop_fraction,
        channels="L" if transform.steps.channels == "L" else "RGB",
    )


def sample_ports(job: Job, inputs: Sequence[Port]) -> tuple[Port, ...]:
    """Return the inputs of a variant with the shapes of the data of a job, the batch open."""
    named = zip(inputs, job.data_shapes, job.batch_axes, strict=True)
    return tuple(
        port.model_copy(
            update={"shape": tuple(-1 if i == axis else size for i, size in enumerate(shape))}
        )
        for port, shape, axis in named
    )
