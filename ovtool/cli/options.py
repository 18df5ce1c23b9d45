"""Options that several verbs share, and the parsing of their values."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from ovtool.cli.command import (
    COMPRESSION,
    DATA,
    INSTALL,
    LOAD,
    MEASUREMENT,
    MODEL,
    OUTPUT,
    TARGET,
    argument,
    option,
)
from ovtool.core import notation
from ovtool.core.columns import METRIC_COLUMNS
from ovtool.core.errors import InputError
from ovtool.core.ports import Preprocessing
from ovtool.models.options import SourceOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pydantic import BaseModel


M = TypeVar("M", bound="BaseModel")


def out_option(default: str | bool = True) -> Any:
    """Return the option of the output folder, with the text of its default."""
    return option(OUTPUT, "FOLDER", "Output folder.", "--out", "-o", show_default=default)


def _metric_name(text: str | None) -> str | None:
    """Return a metric as the table of metrics spells it."""
    return None if text is None else notation.fold(text, list(METRIC_COLUMNS))


Model = Annotated[str, argument("Variant, or any model that convert reads.", kind="MODEL")]
Sweeps = Annotated[list[str], argument("Sweep folders.", kind="SWEEP")]
Recipe = Annotated[str, argument("Recipe file, or the name of a bundled recipe.", kind="RECIPE")]
RecipeOrModel = Annotated[
    str,
    argument(
        "Recipe file, name of a bundled recipe, or any model that convert reads.", "MODEL|RECIPE"
    ),
]

Weights = Annotated[
    str | None, option(MODEL, "FILE", "Weights for module:function: .safetensors or a state dict.")
]
Shapes = Annotated[
    list[str] | None,
    option(
        MODEL, "NAME=SHAPE", "Shape of an input, ? for an open dimension: x=?x3x224x224.", "--shape"
    ),
]
Dtypes = Annotated[
    list[str] | None,
    option(
        MODEL,
        "NAME=TYPE",
        "Type of an input without an example, f32 by default: ids=i64.",
        "--dtype",
    ),
]
Layouts = Annotated[
    list[str] | None, option(MODEL, "NAME=LAYOUT", "Layout of an input: x=NCHW.", "--layout")
]
Mean = Annotated[
    str | None,
    option(MODEL, "NUMBERS", "Mean of pixels 0..255, one number or one per channel: 1,2,3."),
]
Scale = Annotated[
    str | None, option(MODEL, "NUMBERS", "Divisor of the pixels, after the mean is subtracted.")
]
Channels = Annotated[str, option(MODEL, "ORDER", "Channel order of images: RGB, BGR or L.")]
Resize = Annotated[
    str | None,
    option(
        MODEL,
        "MODE",
        "Resizing of images: crop or stretch.",
        show_default="stretch with boxes or masks as labels, else crop",
    ),
]
Size = Annotated[str | None, option(MODEL, "HxW", "Height and width of images: 224x224.")]
Trust = Annotated[
    bool, option(MODEL, "", "Run code of the model: pickle, .pt2, auto_map.", "--trust")
]
Tolerance = Annotated[
    str | None,
    option(
        MODEL, "SHARE", "Maximum difference from the source, as a share of its largest output: 1%."
    ),
]

Data = Annotated[
    str | None, option(DATA, "DATA", "Image folder, .npz, .npy, sample:NAME or noise.")
]
HeldOutData = Annotated[
    str, option(DATA, "DATA", "Held-out image folder, .npz, .npy, sample:NAME or noise.", "--data")
]
Labels = Annotated[
    str | None,
    option(
        DATA,
        "LABELS",
        "Labels of an image folder: CSV (file,label), COCO .json, or a folder of masks.",
    ),
]
Limit = Annotated[
    int | None, option(DATA, "N", "Maximum number of samples of each data set.", min=1)
]
ValidationData = Annotated[
    str | None,
    option(DATA, "DATA", "Held-out samples that select the settings; same forms as --data."),
]
MetricName = Annotated[
    str | None,
    option(
        DATA,
        "METRIC",
        "Quality metric: top1, agreement, characters, cosine, mae, map, iou, or module:function"
        " (with --trust).",
        "--metric",
        show_default="by the labels, else by the outputs",
        callback=_metric_name,
    ),
]
JudgedOutputs = Annotated[
    list[str] | None,
    option(DATA, "NAME", "Output to judge; may repeat.", "--output", show_default="all"),
]
TrustMetric = Annotated[bool, option(DATA, "", "Import the function of --metric.", "--trust")]

Setting = Annotated[
    list[str] | None,
    option(COMPRESSION, "KEY=VALUE", "Setting; 'ovtool methods METHOD' lists them.", "--set", "-s"),
]
MaxDrop = Annotated[
    str | None,
    option(
        COMPRESSION,
        "SHARE",
        "Maximum metric drop: 1% or 0.01 is a percentage point. Tries further settings until one"
        " holds it; needs --validation-data.",
        "--max-drop",
    ),
]
MaxPerplexityRise = Annotated[
    str | None,
    option(
        COMPRESSION,
        "SHARE",
        "Maximum rise of the perplexity of a text generator, such as 5%: weights tries settings"
        " and writes the smallest that holds it; --data is a text.",
        "--max-perplexity-rise",
    ),
]
TimeLimit = Annotated[
    float | None,
    option(COMPRESSION, "SECONDS", "Time after which no further setting is tried.", "--time-limit"),
]

Device = Annotated[str, option(TARGET, "DEVICE", "Device.")]
Devices = Annotated[
    list[str] | None,
    option(TARGET, "DEVICES", "Devices: CPU,GPU,NPU.", "--device", show_default="CPU"),
]
Batch = Annotated[
    int | None,
    option(
        TARGET,
        "N",
        "Samples per request.",
        min=1,
        show_default="the batch in --shape, the fixed batch of the model, or 1",
    ),
]
Hint = Annotated[str, option(LOAD, "HINT", "Performance hint: latency or throughput.")]
Precision = Annotated[
    str, option(TARGET, "PRECISION", "Inference precision: default, f32, bf16 or f16.")
]
Top = Annotated[
    int, option(OUTPUT, "N", "Number of layers to print; --out and --json have all.", min=1)
]
FleetOption = Annotated[
    str | None,
    option(
        TARGET,
        "ADDRESS|FILE",
        "Measure on the hosts of a fleet: the address of its scheduler, or the hosts file.",
        "--fleet",
    ),
]
Hosts = Annotated[
    str | None,
    option(TARGET, "LABELS", "Hosts of the fleet with these labels: npu=4000,site=lab.", "--hosts"),
]
Certificates = Annotated[
    str | None,
    option(
        INSTALL,
        "FOLDER",
        "Certificates of the fleet, from ovtool fleet certs.",
        "--certificates",
        show_default="in the cache of ovtool; none on 127.0.0.1",
    ),
]
Strict = Annotated[
    bool, option(MEASUREMENT, "", "Fail if a requested device is not available.", "--strict")
]
RetryFailed = Annotated[
    bool, option(MEASUREMENT, "", "Measure trials again that failed before.", "--retry-failed")
]

OutFolder = Annotated[str | None, out_option()]
Name = Annotated[
    str | None, option(OUTPUT, "NAME", "Name of the variant.", show_default="name of the folder")
]
Force = Annotated[bool, option(OUTPUT, "", "Replace an existing folder.", "--force")]
Json = Annotated[bool, option(OUTPUT, "", "Print one JSON document.", "--json")]


def default_out(verb: str, model: str, suffix: str = "") -> str:
    """Return the output folder of a verb without ``--out``: named by the model.

    Raises:
        InputError: The model does not exist.
    """
    from ovtool.core import places
    from ovtool.models.convert import default_name, is_variant

    name = Path(model).resolve().name if is_variant(model) else default_name(model)
    return f"{places.RESULTS[verb]}/{name}{suffix}"


def build_source_options(
    *,
    weights: Weights = None,
    shape: Shapes = None,
    dtype: Dtypes = None,
    layout: Layouts = None,
    mean: Mean = None,
    scale: Scale = None,
    channels: Channels = "RGB",
    resize: Resize = None,
    size: Size = None,
    trust: Trust = False,
    tolerance: Tolerance = None,
) -> SourceOptions:
    """Return how a source model is read; :mod:`.spec_options` makes options of the parameters."""
    from ovtool.core.shapes import OPEN, parse_named, parse_named_shapes, parse_shape

    pixels: dict[str, Any] = {}
    if mean is not None:
        pixels["mean"] = _parse_numbers(mean, "--mean")
    if scale is not None:
        pixels["scale"] = _parse_numbers(scale, "--scale")
    if size is not None:
        pixels["size"] = parse_shape(size)
        if len(pixels["size"]) != 2 or OPEN in pixels["size"]:
            raise InputError(f"--size: {size!r} is not HEIGHTxWIDTH", "write it as 224x224")
    preprocessing = None
    if resize is not None:
        pixels["resize"] = resize
    if pixels or channels.upper() != "RGB":
        preprocessing = _validate(Preprocessing, pixels | {"channels": channels})
    values = {
        "weights": weights,
        "input_shapes": parse_named_shapes(shape or ()),
        "input_dtypes": parse_named(dtype or (), "--dtype"),
        "layouts": parse_named(layout or (), "--layout"),
        "preprocessing": preprocessing,
        "trust": trust,
        "tolerance": tolerance,
    }
    return _validate(SourceOptions, values)


def parse_settings(pairs: list[str] | None, **options: float | str | None) -> dict[str, Any]:
    """Return the settings of ``KEY=VALUE`` pairs and of separate options.

    Raises:
        InputError: A pair has no key or no ``=``, or an option gives the same setting.
    """
    settings: dict[str, Any] = {}
    for pair in pairs or ():
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise InputError(f"--set: {pair!r} is not KEY=VALUE")
        settings[key.strip().lower().replace("-", "_")] = value.strip()
    given = {key: value for key, value in options.items() if value is not None}
    for key in sorted(settings.keys() & given.keys()):
        raise InputError(f"{key} is given by --set and by --{key.replace('_', '-')}")
    return settings | given


def parse_percent(text: str, option: str) -> float:
    """Return a share in percent: ``5%`` and ``0.05`` are 5.

    Raises:
        InputError: The text is not a share of at least 0.
    """
    return _read(notation.parse_percent, text, option)


def parse_share(text: str, option: str) -> float:
    """Return a share as a fraction: ``5%`` and ``0.05`` are 0.05.

    Raises:
        InputError: The text is not a share.
    """
    return _read(notation.parse_share, text, option)


def _read(parse: Callable[[str], float], text: str, option: str) -> float:
    try:
        return parse(text)
    except InputError as error:
        raise InputError(f"{option}: {error}", error.hint) from error


def split_words(texts: Sequence[str] | None) -> list[str]:
    """Return the words of an option with several: ``CPU,NPU``; ``MULTI:CPU,GPU`` is one word."""
    words: list[str] = []
    for text in texts or ():
        words += [text.strip()] if ":" in text else text.replace(",", " ").split()
    return words


def _parse_numbers(text: str, option: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise InputError(f"{option}: {text!r} is not a number or a list such as 1,2,3") from error


def _validate(model: type[M], values: dict[str, Any]) -> M:
    from ovtool.core.fields import validated

    return validated(model, values, {name: f"--{name.replace('_', '-')}" for name in values})
