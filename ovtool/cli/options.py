"""Options that several verbs share, and how their text is read."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from ovtool.core.errors import InputError
from ovtool.core.registry import suggestion

if TYPE_CHECKING:
    from ovtool.api import DataSpec
    from ovtool.core.metrics import Metric
    from ovtool.models.options import SourceOptions
    from ovtool.selection.limits import Limits

T = TypeVar("T")
SOURCE = (
    "Model: IR .xml, .onnx, SavedModel folder, .tflite, .pdmodel, .pt2, module:function"
    " or sample:NAME"
)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
Force = Annotated[bool, typer.Option("--force", help="Replace the folder if it is there.")]
Name = Annotated[
    str | None, typer.Option(help="Name of the variant.", show_default="that of --out")
]
Weights = Annotated[
    str | None,
    typer.Option(help="Weights for module:function: .safetensors, or a state dict."),
]
Shapes = Annotated[
    list[str] | None,
    typer.Option("--shape", help="NAME=SHAPE of an input, ? where open, as x=?x3x224x224."),
]
Layouts = Annotated[
    list[str] | None, typer.Option("--layout", help="NAME=LAYOUT of an input, as x=NCHW.")
]
Mean = Annotated[
    str | None,
    typer.Option(help="Subtracted from pixels 0..255, one figure or one a channel: 127,127,127."),
]
Scale = Annotated[str | None, typer.Option(help="Pixels are divided by it after that.")]
Channels = Annotated[str, typer.Option(help="Channel order of images: RGB, BGR or L.")]
Resize = Annotated[str, typer.Option(help="How images get their size: crop or stretch.")]
Size = Annotated[str | None, typer.Option(help="Height and width of images, as 224x224.")]
Trust = Annotated[
    bool,
    typer.Option("--trust", help="Load pickles: this runs whatever code the file holds."),
]
Tolerance = Annotated[
    float | None,
    typer.Option(help="Largest difference from the source, as a share of its largest output."),
]
MetricName = Annotated[
    str | None, typer.Option("--metric", help="Quality that counts: top1, agreement or characters.")
]
Data = Annotated[
    str | None,
    typer.Option(help="Folder of images, .npz or .npy, sample:NAME, or noise."),
]
Labels = Annotated[
    str | None, typer.Option(help="CSV of labels (file,label) for a folder of images.")
]
Limit = Annotated[int | None, typer.Option(min=1, help="Use so many of the samples.")]

ValidationData = Annotated[
    str | None,
    typer.Option(help="Held-out samples that settings are chosen by, named as --data."),
]
MaxDrop = Annotated[
    float | None,
    typer.Option(
        "--max-drop",
        help="Most that the metric may lose, 0.01 is a point: --set max_drop=. Tries more settings"
        " until it holds; needs --validation-data.",
    ),
]
TimeLimit = Annotated[
    float | None,
    typer.Option("--time-limit", help="Seconds after which no more is tried."),
]

MaxLatency = Annotated[float | None, typer.Option("--max-latency-ms", help="Latency limit.")]
MinThroughput = Annotated[
    float | None, typer.Option("--min-throughput-fps", help="Least samples a second.")
]
MinQuality = Annotated[
    float | None,
    typer.Option("--min-quality", help="Least quality (top-1, agreement or characters), 0 to 1."),
]
MaxSize = Annotated[float | None, typer.Option("--max-model-mib", help="Largest model.")]
AllowEstimates = Annotated[
    bool,
    typer.Option(
        "--allow-estimates",
        help="A row may be a compiler's estimate for a device that is not there.",
    ),
]
MaxMemory = Annotated[
    float | None, typer.Option("--max-memory-mib", help="Most memory of the process.")
]
MaxEnergy = Annotated[
    float | None, typer.Option("--max-energy-mj", help="Most energy of a sample.")
]
MaxCost = Annotated[
    float | None,
    typer.Option("--max-cost", help="Most that a million samples may cost, by --prices."),
]
Prices = Annotated[
    str | None,
    typer.Option(
        "--prices",
        help="Table of prices: YAML (currency: EUR, prices: {'*EPYC*': 0.08}: an hour of the"
        " machines that match) or CSV (machine,price_per_hour,currency).",
    ),
]
Rate = Annotated[
    float | None, typer.Option("--rate", help="Requests a second that must be sustained.")
]
Objective = Annotated[
    str,
    typer.Option(
        help="What to be best at: throughput, latency, size, energy, quality, memory or cost; or"
        " several with weights, as throughput=2,latency=1."
    ),
]
Percentile = Annotated[
    int, typer.Option(help="Latency percentile of limit and objective: 50, 90 or 99.")
]


def source_options(
    *,
    weights: str | None,
    shapes: list[str] | None,
    layouts: list[str] | None,
    mean: str | None,
    scale: str | None,
    channels: str,
    resize: str,
    size: str | None,
    trust: bool,
    tolerance: float | None,
) -> SourceOptions:
    """Return how to read a source.

    Raises:
        InputError: An option cannot be understood.
    """
    from ovtool.core.shapes import parse_named, parse_named_shapes
    from ovtool.core.variant import Preprocessing
    from ovtool.models.options import SourceOptions

    given: dict[str, Any] = {}
    if mean is not None:
        given["mean"] = _numbers(mean, "--mean")
    if scale is not None:
        given["scale"] = _numbers(scale, "--scale")
    if size is not None:
        given["size"] = _height_and_width(size)
    preprocessing = None
    if given or channels != "RGB" or resize != "crop":
        preprocessing = _checked(Preprocessing, given | {"channels": channels, "resize": resize})
    values = {
        "weights": weights,
        "input_shapes": parse_named_shapes(shapes or ()),
        "layouts": parse_named(layouts or (), "--layout"),
        "preprocessing": preprocessing,
        "trust": trust,
        "tolerance": tolerance,
    }
    found: SourceOptions = _checked(SourceOptions, values)
    return found


def data_spec(data: str | None, labels: str | None, limit: int | None) -> DataSpec | None:
    """Return the samples that were named, if any."""
    from ovtool.api import DataSpec

    if data is None:
        if labels is not None:
            raise InputError("--labels needs --data")
        return None
    return DataSpec(data, labels, limit)


def settings(pairs: list[str] | None, **short: float | None) -> dict[str, Any]:
    """Return ``key=value`` pairs as a mapping, with those that have options of their own.

    Raises:
        InputError: A pair is none, or names what an option gives too.
    """
    found: dict[str, Any] = {}
    for pair in pairs or ():
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise InputError(f"--set {pair!r} is not key=value")
        found[key.strip().replace("-", "_")] = value.strip()
    given = {key: value for key, value in short.items() if value is not None}
    if twice := sorted(found.keys() & given.keys()):
        raise InputError(f"{twice[0]} is given twice: by --set and by its own option")
    return found | given


def limits(prices: str | None, *, allow_estimates: bool = False, **given: float | None) -> Limits:
    """Return the limits of a choice, named as :class:`ovtool.selection.limits.Limits` has them.

    Raises:
        InputError: One is wrong, or the table of prices is.
    """
    from ovtool.selection import prices as tables
    from ovtool.selection.limits import Limits

    table = None if prices is None else tables.read(prices)
    return Limits(prices=table, allow_estimates=allow_estimates, **given)


def numbers(texts: list[str] | None, option: str) -> list[int]:
    """Return the whole numbers of an option that takes several: ``1 2 4`` or ``1,2,4``.

    Raises:
        InputError: One is no whole number of at least 1.
    """
    found = []
    for text in (part for t in texts or () for part in t.replace(",", " ").split()):
        if not text.isascii() or not text.isdigit() or int(text) < 1:
            raise InputError(f"{option}: {text!r} is not a whole number of at least 1")
        found.append(int(text))
    return found


def percent(text: str | None, option: str) -> float | None:
    """Return a share in per cent; ``0.05`` could be meant as 5 %, so the sign is asked for.

    Raises:
        InputError: It is no number of at least 0 with a ``%``.
    """
    if text is None:
        return None
    try:
        value = float(text.strip().removesuffix("%"))
    except ValueError:
        value = math.nan
    if not text.strip().endswith("%") or not 0 <= value < math.inf:
        raise InputError(f"{option}: {text!r} is not a number of at least 0 with a %", "as 5%")
    return value


BUSY = "busy"


def rates(texts: list[str] | None) -> list[float | None]:
    """Return arrival rates, requests a second; ``busy`` keeps every request busy and is None.

    Raises:
        InputError: One is no number above 0.
    """
    found: list[float | None] = []
    for text in words(texts):
        try:
            rate = None if text == BUSY else float(text)
        except ValueError:
            rate = math.nan
        if rate is not None and not 0 < rate < math.inf:
            raise InputError(f"--rate: {text!r} is neither a number above 0 nor {BUSY!r}")
        found.append(rate)
    return found


def words(texts: list[str] | None) -> list[str]:
    """Return the words of an option that takes several: ``CPU,NPU``; ``MULTI:CPU,GPU`` is one."""
    found: list[str] = []
    for text in texts or ():
        found += [text.strip()] if ":" in text else text.replace(",", " ").split()
    return found


def metric(text: str | None) -> Metric | None:
    """Return the metric that counts.

    Raises:
        InputError: There is none of that name.
    """
    from ovtool.core.metrics import METRICS

    return None if text is None else _one_of(text, METRICS, "metric")


def _one_of(text: str, known: tuple[T, ...], what: str) -> T:
    for value in known:
        if value == text:
            return value
    raise InputError(f"unknown {what} {text!r}", suggestion(text, [str(k) for k in known]))


def _numbers(text: str, option: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise InputError(f"{option}: {text!r} is not a number, or several with commas") from error


def _height_and_width(text: str) -> tuple[int, ...]:
    from ovtool.core.shapes import OPEN, parse_shape

    found = parse_shape(text)
    if len(found) != 2 or OPEN in found:
        raise InputError(f"--size: {text!r} is not a height and a width", "as 224x224")
    return found


def _checked(kind: Any, values: dict[str, Any]) -> Any:
    from pydantic import ValidationError

    try:
        return kind(**values)
    except ValidationError as error:
        first = error.errors()[0]
        option = str(first["loc"][0]).replace("_", "-")
        raise InputError(f"--{option}: {first['msg']}") from error
