"""Inputs and outputs of a model: shapes, types, layouts, and the preprocessing of images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, model_validator

from ovtool.core.errors import InputError
from ovtool.core.fields import Record, UserInput
from ovtool.core.shapes import OPEN, port_name, shapes_text
from ovtool.core.third_party import reason
from ovtool.core.units import LARGEST_COUNT, LARGEST_NUMBER

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import openvino as ov

    from ovtool.core.shapes import Named

Size = Annotated[int, Field(ge=1, le=LARGEST_COUNT)]
Finite = Annotated[float, Field(ge=-LARGEST_NUMBER, le=LARGEST_NUMBER, allow_inf_nan=False)]


class Preprocessing(UserInput):
    """Preprocessing of an image: ``(pixel - mean) / scale`` after resizing.

    ``size`` is [height, width].  ``resize`` is ``crop`` (shorter side to ``size / crop_fraction``,
    then a center crop), ``stretch``, or None: ``stretch`` where labels are boxes or masks, which a
    crop would cut, and elsewhere ``crop``, but for images of the input's size, which stay as they
    are.  ``mean`` and ``scale`` are in units of pixels from 0 to
    255: one value, or one for each channel.
    """

    size: tuple[Size, Size] | None = None
    resize: Literal["crop", "stretch"] | None = None
    crop_fraction: float = Field(default=0.875, gt=0, le=1)
    channels: Literal["RGB", "BGR", "L"] = "RGB"
    mean: tuple[Finite, ...] = (0.0,)
    scale: tuple[Finite, ...] = (1.0,)

    @property
    def text(self) -> str:
        """The preprocessing in one line."""
        mean, scale = (" ".join(f"{v:g}" for v in values) for values in (self.mean, self.scale))
        size = [] if self.size is None else [f"size {'x'.join(map(str, self.size))}"]
        resize = self.resize or "resize not recorded"
        crop = [] if self.resize == "stretch" else [f"crop fraction {self.crop_fraction:g}"]
        return ", ".join([self.channels, f"mean {mean}", f"scale {scale}", *size, resize, *crop])

    @model_validator(mode="after")
    def _check_units(self) -> Preprocessing:
        """Reject a mean and scale of pixels from 0 to 1, which most training code has."""
        scales = [abs(value) for value in self.scale]
        small_mean = any(self.mean) and all(abs(value) <= 1 for value in self.mean)
        if not (0 < min(scales) < 1 or (small_mean and max(scales) <= 1)):
            return self
        inverse = all(abs(255 * value - 1) < 0.05 for value in scales)  # a factor, not a divisor
        meant = {
            "mean": [255 * v if max(map(abs, self.mean)) <= 1 else v for v in self.mean],
            "scale": [255.0] if inverse else [255 * v for v in self.scale],
        }
        texts = {n: ",".join(f"{v:.6g}" for v in values) for n, values in meant.items()}
        given = [",".join(f"{v:.6g}" for v in values) for values in (self.mean, self.scale)]
        raise ValueError(
            f"mean {given[0]} and scale {given[1]} fit pixels 0..1, but apply to pixels 0..255;"
            f" for pixels 0..255: --mean {texts['mean']} --scale {texts['scale']}"
        )


class Port(Record):
    """An input or output; open dimensions of ``shape`` are -1."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    layout: str | None = None
    maximum: int | None = None
    """Largest integer at which the conversion agrees with the source; None without a limit."""

    @property
    def batch_axis(self) -> int | None:
        """Index of the batch dimension: the ``N`` of the layout; None without a batch dimension.

        Without a layout, a first dimension that is open or 1 is the batch.
        """
        if self.layout is None:
            return 0 if self.shape[:1] in ((1,), (OPEN,)) else None
        before, batch, after = self.layout.partition("N")
        if not batch:
            return None
        return len(self.shape) - 1 - len(after) if "..." in before else len(before)


def fixed_batch(inputs: Iterable[Port]) -> int | None:
    """Return the fixed batch of inputs: 1 without a batch dimension; None for a dynamic batch."""
    sizes = [port.shape[axis] for port in inputs if (axis := port.batch_axis) is not None]
    return next((size for size in sizes if size != OPEN), None if sizes else 1)


def ports(
    model: ov.Model, maxima: Mapping[str, int | None] | None = None
) -> dict[str, tuple[Port, ...]]:
    """Return the ``inputs`` and ``outputs`` of a graph, with layouts.

    ``maxima`` are the largest integers of some inputs, see :class:`Port`.
    """

    def port(kind: str, index: int, output: Any) -> Port:
        shape = tuple(d.get_length() if d.is_static else -1 for d in output.get_partial_shape())
        name = port_name(output.get_names(), kind, index)
        return Port(
            name=name,
            shape=shape,
            dtype=output.get_element_type().get_type_name(),
            layout=_layout_letters(output.get_node().layout),
            maximum=(maxima or {}).get(name) if kind == "input" else None,
        )

    return {
        "inputs": tuple(port("input", i, p) for i, p in enumerate(model.inputs)),
        "outputs": tuple(port("output", i, p) for i, p in enumerate(model.outputs)),
    }


def _layout_letters(layout: ov.Layout) -> str | None:
    """Return a letter for each dimension; dimensions with longer names are ``?``."""
    if layout.empty:
        return None
    names = layout.to_string().strip("[]").split(",")
    return "".join(n if len(n) == 1 or n == "..." else "?" for n in names) or None


def set_output_layouts(model: ov.Model, outputs: Sequence[Port]) -> None:
    """Set the layouts of outputs without one in place, where the dimensions fit.

    A graph that was converted again, or changed, has the outputs of the variant it stems from.
    """
    import openvino as ov

    for result, port in zip(model.get_results(), outputs, strict=False):
        rank = result.get_output_partial_shape(0).rank
        fits = rank.is_static and rank.get_length() == len(port.shape)
        if port.layout and result.layout.empty and fits:
            result.set_layout(ov.Layout(port.layout))


def fix_shapes(model: ov.Model, shapes: Named, name: str) -> None:
    """Set the shapes of all inputs of a graph in place, in the order of the inputs.

    Raises:
        InputError: The variant ``name`` does not support the shapes.
    """
    import openvino as ov

    try:
        model.reshape({i: ov.PartialShape(list(shape)) for i, (_, shape) in enumerate(shapes)})
    except RuntimeError as error:
        raise InputError(
            f"{name} does not support {shapes_text(shapes)}: {reason(error)}"
        ) from error
