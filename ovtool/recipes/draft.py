"""The recipe of a user's own model: the variants, the split of the data, the devices.

``ovtool run MODEL`` writes this recipe and runs it, so that the next step is to edit the recipe.
"""

from __future__ import annotations

import io
import shlex
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq

from ovtool.core import files, places, units
from ovtool.core.companions import read_positions
from ovtool.core.errors import InputError
from ovtool.core.fields import (
    DeviceName,
    NotEmpty,
    Percent,
    Positive,
    UserInput,
    flag_of,
    option_field,
)
from ovtool.core.progress import SILENT, Progress
from ovtool.core.shapes import OPEN
from ovtool.core.sweep_spec import Counts, Precisions, SweepSpec
from ovtool.core.trial import Hint
from ovtool.devices import discovery
from ovtool.models.convert import default_name, is_variant, load_or_convert, load_variant
from ovtool.models.options import SourceOptions
from ovtool.models.registry import kind_of
from ovtool.recipes.own_data import OwnData, absolute, check_request, own_data, present, split
from ovtool.recipes.schema import read_recipe
from ovtool.selection.choice_spec import ChoiceSpec

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from pydantic import BaseModel

    from ovtool.core.variant import Variant
    from ovtool.datasets.spec import DataSpec

OWN_RECIPE = "recipe.yaml"
"""Name of the recipe in the folder of its results."""
_BATCHES = (1, 2, 4, 8)
_BOTH = ["f32", "default"]
"""Precisions of the uncompressed model: a speed-up needs both baselines."""
_PROMPT, _OUTPUT, _CONCURRENCY = 128, 32, [1, 4]
"""Tokens and requests in flight of a text generator."""
_TEXT_MEASUREMENT = {"rounds": 4, "target_pct": 5.0, "max_seconds": 20.0}
"""Measurement settings of a text generator, whose requests last seconds."""
_LONGEST_NAME = 80
_UNEDITED = "# unedited: "
_HEAD = """\
# Written by ovtool run. Edit it, then:  {command}
# Finished variants and measurements are used again. An edited file is never replaced.
"""
_COMMENTS = {
    "model": "The conversion: shapes, layouts and the preprocessing of images.",
    "data": "The parts of one data set share no sample.",
    "variants": "'ovtool methods' lists the compression methods; each variant is a list of steps.",
    "sweep": "Every combination is measured. Longer: rounds: 8, round_s: 0.3, max_seconds: 10.",
    "choose": "Objective and limits, such as max_latency_ms: 20 or min_quality: 0.95.",
}


def _described(name: str) -> str:
    return str(SweepSpec.model_fields[name].description)


_TARGET, _LOAD, _MEASUREMENT = "What to measure", "Load", "How to measure"


class DraftSpec(UserInput):
    """The axes of a drafted sweep and its measurement settings; None: by model and machine."""

    devices: Annotated[tuple[DeviceName, ...], NotEmpty] | None = option_field(
        _TARGET,
        "DEVICES",
        None,
        "Devices: CPU,GPU,NPU.",
        flag="--device",
        default_text="the devices of this machine",
    )
    batches: Annotated[Counts, NotEmpty] | None = option_field(
        _TARGET,
        "N,N...",
        None,
        _described("batches"),
        flag="--batch",
        default_text="1,2,4,8, or the batch that the model cannot change; none of a text generator",
    )
    precisions: Precisions | None = option_field(
        _TARGET,
        "PRECISIONS",
        None,
        _described("precisions"),
        flag="--precision",
        default_text="default, and f32 for the uncompressed model",
    )
    baseline: str | None = option_field(
        _TARGET, "MODEL", None, _described("baseline"), default_text="the model itself"
    )
    hints: Annotated[tuple[Hint, ...], NotEmpty] = option_field(
        _LOAD, "HINTS", ("latency", "throughput"), _described("hints"), flag="--hint"
    )
    rounds: int = option_field(_MEASUREMENT, "N", 6, _described("rounds"), ge=3, le=1_000_000)
    round_s: Positive = option_field(_MEASUREMENT, "SECONDS", 0.25, _described("round_s"))
    target_pct: Percent = option_field(_MEASUREMENT, "PERCENT", 3.0, _described("target_pct"))
    max_seconds: Positive = option_field(_MEASUREMENT, "SECONDS", 2.0, _described("max_seconds"))


def draft(
    model: str | Path,
    *,
    out: str | Path | None = None,
    data: OwnData | DataSpec | str | None = None,
    options: SourceOptions | None = None,
    spec: DraftSpec | None = None,
    choose: ChoiceSpec | None = None,
    strict: bool = False,
    progress: Progress = SILENT,
) -> Path:
    """Convert a model, and write the recipe that compresses, measures and chooses.

    Without data the recipe has only the variants that need none. A model that is compressed
    already is measured as it is.

    Args:
        model: A source of ``convert``, or a variant.
        out: Folder of the recipe and of its results; by default ``reports/NAME``.
        data: Samples; one half calibrates, the other one evaluates.
        options: How to read the model.
        spec: Axes of the sweep and measurement settings.
        choose: Objective and limits of the choice.
        strict: Whether a device that is not available is an error.
        progress: Receives the progress and what the draft decides.

    Returns:
        The path of the recipe.

    Raises:
        InputError: The model or the data cannot be read, the data has fewer than two samples or
            does not fit, or the folder has a recipe that was edited or is of another model; nothing
            is left on the disk.
    """
    options, spec, choose = options or SourceOptions(), spec or DraftSpec(), choose or ChoiceSpec()
    own = own_data(data)
    check_request(own, choose, trust=options.trust)
    devices = _select_devices(spec, strict=strict)
    source = absolute(str(model))
    name = _name(load_variant(source).name if is_variant(source) else default_name(source))
    baseline = None if spec.baseline is None else baseline_name(spec.baseline, (name,))
    folder = Path(out) if out is not None else Path(places.RESULTS["run"]) / name
    path = folder / OWN_RECIPE
    _refuse_other(path, source)
    converted = folder / "variants" / name
    with files.removed_on_error(converted):
        start = load_or_convert(
            source,
            converted,
            name=name,
            options=options,
            progress=progress,
        )
        own_split = split(own, start, choose, options, progress)
        sweep = _sweep(spec, start, devices, baseline, choose) | present(
            {"shapes": own_split.shapes}
        )
        tree = {
            "recipe": 1,
            "name": name,
            "about": f"{name}, as ovtool run drafted it",
            "model": _model(source, options),
            "data": own_split.data,
            "variants": _variants(name, start, spec, own, choose, progress),
            "sweep": sweep,
            "choose": _set_fields(choose),
        }
        models = (source, spec.baseline)
        text = _HEAD.format(command=rerun_command(path, out, models, trust=options.trust))
        text += _to_yaml({key: value for key, value in tree.items() if value})
        files.write_text(path, f"{text}{_UNEDITED}{_checksum(text)}\n")
    return path


def rerun_command(
    recipe: str | Path, out: str | Path | None, models: Iterable[str | None], *, trust: bool
) -> str:
    """Return the command that runs a drafted recipe; one with code of the user needs trust."""
    own = filter(None, models)
    code = trust or any(not is_variant(each) and kind_of(each) == "torch" for each in own)
    place = [] if out is None else ["--out", str(out)]
    return shlex.join(["ovtool", "run", str(recipe), *place, *(["--trust"] if code else [])])


def _name(text: str) -> str:
    """Return the name of a recipe, which begins with a letter or a digit."""
    return text.lstrip("._-")[:_LONGEST_NAME] or "model"


def _select_devices(spec: DraftSpec, *, strict: bool) -> list[str]:
    """Return the requested devices, or all that this machine has."""
    if spec.devices is not None:
        discovery.select_available(spec.devices, strict=strict)
        return list(spec.devices)
    return [device.name for device in discovery.discover() if device.available]


def _checksum(text: str) -> str:
    return f"{zlib.crc32(text.encode()):08x}"


def _refuse_other(path: Path, source: str) -> None:
    """Refuse to replace a recipe that differs from what :func:`draft` wrote for a model.

    Raises:
        InputError: The file was edited, is no recipe of ovtool, or is of another model.
    """
    if not path.exists():
        return
    body, marker, checksum = path.read_bytes().rpartition(_UNEDITED.encode())
    if not marker or checksum.strip() != f"{zlib.crc32(body):08x}".encode():
        raise InputError(
            f"{path} was edited and is not replaced",
            f"run it: ovtool run {path} --out {path.parent}; or change --out",
        )
    if (before := read_recipe(path).model.source) != source:
        raise InputError(f"{path.parent} has the results of {before}", "change --out")


def baseline_name(reference: str, taken: Collection[str]) -> str:
    """Return the name that the baseline of a recipe gets beside the names that are taken."""
    if is_variant(reference):
        return load_variant(reference).name
    name = default_name(reference)
    return f"{name}-baseline" if name in taken else name


def _model(source: str, options: SourceOptions) -> dict[str, Any]:
    weights = None if options.weights is None else absolute(options.weights)
    shapes = {
        name: "x".join("?" if size == OPEN else str(size) for size in shape)
        for name, shape in options.input_shapes.items()
    }
    steps = options.preprocessing
    known = {
        "source": source,
        "weights": weights,
        "shapes": shapes,
        "dtypes": options.input_dtypes,
        "layouts": options.layouts,
        "preprocessing": None if steps is None else _set_fields(steps),
        "tolerance": options.tolerance,
    }
    return {key: value for key, value in known.items() if value}


def _variants(
    name: str,
    start: Variant,
    spec: DraftSpec,
    own: OwnData,
    choose: ChoiceSpec,
    progress: Progress,
) -> dict[str, dict[str, Any]]:
    if start.compressed:
        steps = [step.method for step in start.record.steps]
        compression = units.listing(steps, 3) if steps else start.record.source.compression
        hint = "" if spec.baseline else "; --baseline MODEL compares it with the uncompressed one"
        progress.note(f"the model is compressed already ({compression}): measured as it is{hint}")
        return {name: {}}
    f32_too = {} if spec.precisions is not None else {"precisions": _BOTH}
    int8, weights, int4 = (
        f"{each}-new" if each == name else each for each in ("int8", "int8-weights", "int4-weights")
    )
    in_8_bits = {weights: {"steps": [{"weights": {"mode": "int8_asym"}}]}}
    if start.record.generates_text:
        settings = {"mode": "int4_asym", "group_size_fallback": "adjust"}
        in_4_bits = {int4: {"steps": [{"weights": settings}]}}
        if own.source is None:
            progress.note("no --data: quality is not measured")
        return {name: f32_too} | in_8_bits | in_4_bits
    step: Any = "int8" if choose.max_drop is None else {"int8": {"max_drop": choose.max_drop}}
    variants: dict[str, dict[str, Any]] = {name: f32_too, int8: {"steps": [step]}}
    if own.source is None:
        progress.note("no --data: only INT8 weights, which need none; quality is not measured")
        del variants[int8]
    return variants | in_8_bits


def _sweep(
    spec: DraftSpec,
    start: Variant,
    devices: list[str],
    baseline: str | None,
    choose: ChoiceSpec,
) -> dict[str, Any]:
    chosen = spec.model_dump(mode="json") | {
        "devices": devices,
        "baseline": None if spec.baseline is None else absolute(spec.baseline),
    }
    if start.record.generates_text:
        _refuse_batches(spec)
        del chosen["hints"]
        chosen |= _lengths(start, choose) | {
            name: value
            for name, value in _TEXT_MEASUREMENT.items()
            if getattr(spec, name) == DraftSpec.model_fields[name].default
        }
    elif spec.batches is None and start.record.batch_size is None:
        chosen["batches"] = _BATCHES
    if baseline is not None and spec.precisions is None:
        chosen["precisions_of"] = {baseline: _BOTH}
    return present({k: list(v) if isinstance(v, tuple) else v for k, v in chosen.items()})


def _refuse_batches(spec: DraftSpec) -> None:
    """Refuse batches and hints of a text generator, which has requests in flight.

    Raises:
        InputError: The user set some.
    """
    for name in ("batches", "hints"):
        if getattr(spec, name) != DraftSpec.model_fields[name].default:
            raise InputError(
                f"{flag_of(DraftSpec, name)} does not apply to a text generator",
                "omit it, and set prompt_lengths, output_lengths or concurrency in the recipe",
            )


def _lengths(start: Variant, choose: ChoiceSpec) -> dict[str, list[int]]:
    """Return lengths of prompts and outputs: of the choice, or that there are positions for."""
    positions = read_positions(start.folder) or _PROMPT + _OUTPUT
    output = choose.output_length or max(1, min(_OUTPUT, positions // 5))
    return {
        "prompt_lengths": [choose.prompt_length or max(1, min(_PROMPT, positions - output))],
        "output_lengths": [output],
        "concurrency": _CONCURRENCY,
    }


def _set_fields(spec: BaseModel) -> dict[str, Any]:
    """Return the fields that differ from their defaults; the file of prices is found anywhere."""
    fields = spec.model_dump(mode="json", exclude_defaults=True)
    if isinstance(fields.get("prices"), str):
        fields["prices"] = absolute(fields["prices"])
    return fields


def _in_flow(value: Any) -> Any:
    """Return a tree in which lists of plain values are printed on one line."""
    if isinstance(value, dict):
        return {key: _in_flow(each) for key, each in value.items()}
    if not isinstance(value, list | tuple):
        return value
    items = CommentedSeq([_in_flow(each) for each in value])
    if not any(isinstance(each, dict | list) for each in value):
        items.fa.set_flow_style()
    return items


def _to_yaml(tree: dict[str, Any]) -> str:
    document = CommentedMap(_in_flow(tree))
    for key, comment in _COMMENTS.items():
        if key in tree:
            document.yaml_set_comment_before_after_key(key, before=f"\n{comment}")
    writer = YAML()
    writer.representer.ignore_aliases = lambda *_: True
    writer.width = 100
    stream = io.StringIO()
    writer.dump(document, stream)
    return stream.getvalue()
