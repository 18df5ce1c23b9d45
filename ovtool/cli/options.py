"""Options that several verbs share, and how their text is read."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from ovtool.cli.command import COMPRESSION, DATA, HOW, MODEL, OUTPUT, WHAT
from ovtool.core.errors import InputError
from ovtool.core.registry import suggestion

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ovtool.api import DataSpec
    from ovtool.core.metrics import Metric
    from ovtool.models.options import SourceOptions

T = TypeVar("T")
SOURCE = (
    "Model: IR (.xml), .onnx, SavedModel folder, .tflite, .pdmodel, .pt2, module:function or"
    " sample:NAME."
)

Model = Annotated[
    str, typer.Argument(help="Variant, or any model that convert reads.", show_default=False)
]
Sweeps = Annotated[list[str], typer.Argument(help="Sweep folders.", show_default=False)]
Recipe = Annotated[
    str, typer.Argument(help="Recipe file, or the name of a bundled recipe.", show_default=False)
]

Weights = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        help="Weights for module:function: .safetensors or a state dict.",
        rich_help_panel=MODEL,
    ),
]
Shapes = Annotated[
    list[str] | None,
    typer.Option(
        "--shape",
        metavar="NAME=SHAPE",
        help="Shape of an input, ? for an open dimension: x=?x3x224x224.",
        rich_help_panel=MODEL,
    ),
]
Layouts = Annotated[
    list[str] | None,
    typer.Option(
        "--layout",
        metavar="NAME=LAYOUT",
        help="Layout of an input: x=NCHW.",
        rich_help_panel=MODEL,
    ),
]
Mean = Annotated[
    str | None,
    typer.Option(
        metavar="NUMBERS",
        help="Mean of pixels 0..255 to subtract, one number or one per channel: 127,127,127.",
        rich_help_panel=MODEL,
    ),
]
Scale = Annotated[
    str | None,
    typer.Option(
        metavar="NUMBERS",
        help="Divisor of the pixels, after the mean is subtracted.",
        rich_help_panel=MODEL,
    ),
]
Channels = Annotated[
    str,
    typer.Option(
        metavar="ORDER", help="Channel order of images: RGB, BGR or L.", rich_help_panel=MODEL
    ),
]
Resize = Annotated[
    str,
    typer.Option(
        metavar="MODE", help="Resizing of images: crop or stretch.", rich_help_panel=MODEL
    ),
]
Size = Annotated[
    str | None,
    typer.Option(metavar="HxW", help="Height and width of images: 224x224.", rich_help_panel=MODEL),
]
Trust = Annotated[
    bool,
    typer.Option(
        "--trust",
        help="Load pickles; a pickle can run any code.",
        rich_help_panel=MODEL,
    ),
]
Tolerance = Annotated[
    float | None,
    typer.Option(
        metavar="RATIO",
        help="Maximum difference from the source, relative to the source's largest output.",
        rich_help_panel=MODEL,
    ),
]

Data = Annotated[
    str | None,
    typer.Option(
        metavar="DATA",
        help="Image folder, .npz, .npy, sample:NAME or noise.",
        rich_help_panel=DATA,
    ),
]
HeldOutData = Annotated[
    str,
    typer.Option(
        "--data",
        metavar="DATA",
        help="Held-out samples: image folder, .npz, .npy, sample:NAME or noise.",
        rich_help_panel=DATA,
    ),
]
Labels = Annotated[
    str | None,
    typer.Option(
        metavar="CSV", help="Labels (file,label) of an image folder.", rich_help_panel=DATA
    ),
]
Limit = Annotated[
    int | None,
    typer.Option(min=1, metavar="N", help="Maximum number of samples.", rich_help_panel=DATA),
]
ValidationData = Annotated[
    str | None,
    typer.Option(
        metavar="DATA",
        help="Held-out samples that select the settings; same forms as --data.",
        rich_help_panel=DATA,
    ),
]
MetricName = Annotated[
    str | None,
    typer.Option(
        "--metric",
        metavar="METRIC",
        help="Quality metric: top1, agreement or characters.",
        rich_help_panel=DATA,
    ),
]

Setting = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        "-s",
        metavar="KEY=VALUE",
        help="Setting of the method; 'ovtool methods METHOD' lists them.",
        rich_help_panel=COMPRESSION,
    ),
]
MaxDrop = Annotated[
    float | None,
    typer.Option(
        "--max-drop",
        metavar="DROP",
        help="Maximum metric drop (0.01 = 1 percentage point). Tries further settings until one"
        " holds it; needs --validation-data.",
        rich_help_panel=COMPRESSION,
    ),
]
TimeLimit = Annotated[
    float | None,
    typer.Option(
        "--time-limit",
        metavar="SECONDS",
        help="Time after which no further setting is tried.",
        rich_help_panel=COMPRESSION,
    ),
]

Device = Annotated[str, typer.Option(metavar="DEVICE", help="Device.", rich_help_panel=WHAT)]
Devices = Annotated[
    list[str] | None,
    typer.Option(
        "--device",
        metavar="DEVICES",
        help="Devices: CPU,GPU,NPU.",
        show_default="CPU",
        rich_help_panel=WHAT,
    ),
]
Batch = Annotated[
    int, typer.Option(min=1, metavar="N", help="Samples per request.", rich_help_panel=WHAT)
]
OpenBatch = Annotated[
    int | None,
    typer.Option(
        "--batch",
        min=1,
        metavar="N",
        help="Samples per request.",
        show_default="1, or the batch in --shape",
        rich_help_panel=WHAT,
    ),
]
Precision = Annotated[
    str,
    typer.Option(
        metavar="PRECISION",
        help="Inference precision: default, f32, bf16 or f16.",
        rich_help_panel=WHAT,
    ),
]
Top = Annotated[
    int,
    typer.Option(
        min=1,
        metavar="N",
        help="Number of layers to print; --out and --json have all.",
        rich_help_panel=OUTPUT,
    ),
]
Strict = Annotated[
    bool,
    typer.Option(
        "--strict", help="Fail if a requested device is not available.", rich_help_panel=HOW
    ),
]
RetryFailed = Annotated[
    bool,
    typer.Option(
        "--retry-failed", help="Measure trials again that failed before.", rich_help_panel=HOW
    ),
]

Out = Annotated[
    str,
    typer.Option("--out", "-o", metavar="FOLDER", help="Output folder.", rich_help_panel=OUTPUT),
]
OutFolder = Annotated[
    str | None,
    typer.Option("--out", "-o", metavar="FOLDER", help="Output folder.", rich_help_panel=OUTPUT),
]
Name = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Name of the variant.",
        show_default="name of the folder",
        rich_help_panel=OUTPUT,
    ),
]
Force = Annotated[
    bool, typer.Option("--force", help="Replace an existing folder.", rich_help_panel=OUTPUT)
]
Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON document.", rich_help_panel=OUTPUT)
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


def split_words(texts: Sequence[str] | None) -> list[str]:
    """Return the words of an option with several: ``CPU,NPU``; ``MULTI:CPU,GPU`` is one word."""
    words: list[str] = []
    for text in texts or ():
        words += [text.strip()] if ":" in text else text.replace(",", " ").split()
    return words


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
