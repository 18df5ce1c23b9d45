"""A recipe: the whole way from a model to a choice, written down as YAML.

Reading one reports every mistake at once, with its line.  A recipe never names code to import
unless the user allows that where the recipe is run.
"""

from __future__ import annotations

import reprlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import AliasEvent, CollectionEndEvent, CollectionStartEvent

from ovtool.compression.method import MissingInputError
from ovtool.compression.registry import load_method, parse_settings
from ovtool.core import files
from ovtool.core.errors import InputError, OvtoolError
from ovtool.core.metrics import Metric
from ovtool.core.registry import suggestion
from ovtool.core.shapes import Shape as Sizes
from ovtool.core.shapes import parse_shape, shape_sets
from ovtool.core.trial import PRECISIONS, Hint
from ovtool.core.variant import Preprocessing, Record
from ovtool.selection.objective import parse

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

T = TypeVar("T")
MAX_BYTES = 1 << 16
MAX_DEPTH = 20


def _shape(value: object) -> object:
    if isinstance(value, dict):  # what YAML makes of a ? that begins a value in a list
        raise ValueError('write a shape with ? in quotes: "?x128"')  # noqa: TRY004 - pydantic's
    text = "x".join(map(str, value)) if isinstance(value, list) else value
    if not isinstance(text, str):
        return value
    try:
        return parse_shape(text)
    except InputError as error:
        raise ValueError(f"{error}; {error.hint}") from error


def _filled(value: T) -> T:
    if not value:
        raise ValueError("must not be empty")
    return value


def _several(value: object) -> object:
    """Read a shape (``?x128``, ``[1, 128]``) or a list of shapes."""
    if isinstance(value, list) and not all(map(_is_size, value)):
        return [_shape(one) for one in value]
    return [_shape(value)]


def _is_size(value: object) -> bool:
    return isinstance(value, int) or (isinstance(value, str) and "x" not in value.lower())


def _in_sets(shapes: dict[str, tuple[Sizes, ...]]) -> dict[str, tuple[Sizes, ...]]:
    try:
        shape_sets(shapes, "shapes")
    except InputError as error:
        raise ValueError(f"{error}; {error.hint}") from error
    return shapes


def _objective(value: object) -> object:
    """Read ``latency``, ``throughput=2,latency=1`` or ``{throughput: 2, latency: 1}``."""
    text = ",".join(f"{k}={v}" for k, v in value.items()) if isinstance(value, dict) else value
    if not isinstance(text, str):
        return value
    try:
        parse(text)
    except InputError as error:
        raise ValueError(f"{error}; {error.hint}" if error.hint else str(error)) from error
    return text


Filled = AfterValidator(_filled)
Shape = Annotated[Sizes, BeforeValidator(_shape)]
Several = Annotated[tuple[Sizes, ...], BeforeValidator(_several)]
ShapeSets = Annotated[dict[str, Several], AfterValidator(_in_sets)]
Objective = Annotated[str, BeforeValidator(_objective)]
Count = Annotated[int, Field(ge=1, strict=True)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=80)]
Precision = Literal["default", "f32", "bf16", "f16"]


class Model(Record):
    """The source: a path (relative to the recipe), ``sample:NAME`` or ``module:function``."""

    source: str
    weights: str | None = None
    shapes: dict[str, Shape] = Field(default_factory=dict)
    layouts: dict[str, str] = Field(default_factory=dict)
    preprocessing: Preprocessing | None = None
    tolerance: Positive | None = None


class Data(Record):
    """Samples: a folder of images, ``.npz``/``.npy``, ``sample:NAME`` or ``noise``."""

    source: str
    labels: str | None = None
    limit: Count | None = None


class Evaluation(Data):
    """Held-out samples, and which figure of theirs counts as the quality."""

    metric: Metric | None = None


class DataSets(Record):
    """No two of them should share samples."""

    calibration: Data | None = None
    training: Data | None = None
    validation: Evaluation | None = None
    """What settings are chosen by, such as those of an accuracy limit."""
    evaluation: Evaluation | None = None


class PlannedStep(Record):
    """One compression step: a method and its settings."""

    method: str
    settings: dict[str, Any] = Field(default_factory=dict)


def _step(value: object) -> object:
    """Read ``- int8`` and ``- int8: {preset: mixed}``."""
    if isinstance(value, str):
        return {"method": value}
    if isinstance(value, dict) and len(value) == 1:
        ((method, settings),) = value.items()
        return {"method": method, "settings": settings or {}}
    raise ValueError("a step is a method, or a method with its settings (int8: {preset: mixed})")


class PlannedVariant(Record):
    """The steps that lead to a variant (none: the uncompressed conversion), and its precisions."""

    steps: tuple[Annotated[PlannedStep, BeforeValidator(_step)], ...] = ()
    precisions: Annotated[tuple[Precision, ...], Filled] = ("default",)


class FindRate(Record):
    """The latency limit that the highest arrival rate is looked for under."""

    max_latency_ms: Positive
    percentile: Literal[50, 90, 99] = 99


class Sweep(Record):
    """What is measured; every combination is a trial."""

    devices: Annotated[tuple[str, ...], Filled] = ("CPU",)
    with_estimates: bool = False
    """Whether an NPU platform that is not here gets rows with its compiler's estimate."""
    batches: Annotated[tuple[Count, ...], Filled] | None = None
    """By default the batch in the shapes, else 1."""
    hints: Annotated[tuple[Hint, ...], Filled] = ("latency", "throughput")
    streams: tuple[Count, ...] = ()
    requests: tuple[Count, ...] = ()
    threads: tuple[Count, ...] = ()
    pinning: bool | None = None
    rates: Annotated[tuple[Positive | Literal["busy"], ...], Filled] = ("busy",)
    """Requests that arrive a second, or ``busy``: as many as the device takes."""
    find_rate: FindRate | None = None
    shapes: ShapeSets = Field(default_factory=dict)
    """Input to a shape, or to a list: the first of each input is a set, the second another."""
    data_shapes: ShapeSets = Field(default_factory=dict)
    """The same of what is inferred, by models compiled with open dimensions."""
    target_pct: Positive = 2.0
    rounds: int = Field(default=8, ge=3, strict=True)
    round_s: Positive = 0.3
    max_seconds: Positive = 10.0


class Choose(Record):
    """The limits and the objective of the choice."""

    objective: Objective = "throughput"
    """One, or a mapping of several to their weights."""
    percentile: Literal[50, 90, 99] = 99
    max_latency_ms: Positive | None = None
    min_throughput_fps: Positive | None = None
    min_quality: float | None = Field(default=None, ge=0, le=1)
    max_model_mib: Positive | None = None
    allow_estimates: bool = False
    max_memory_mib: Positive | None = None
    max_energy_mj: Positive | None = None
    max_cost: Positive | None = None
    """Of a million samples, by ``prices``: a file beside the recipe."""
    rate: Positive | None = None
    """Requests a second that must be sustained."""
    prices: str | None = None

    @model_validator(mode="after")
    def _priced(self) -> Choose:
        if self.prices is None and (self.max_cost is not None or "cost" in parse(self.objective)):
            raise ValueError("a choice by cost needs prices: a file of what the machines cost")
        return self


class Recipe(Record):
    """A recipe as it is written."""

    recipe: Literal[1]
    name: Name
    about: str = ""
    model: Model
    data: DataSets = DataSets()
    variants: Annotated[dict[Name, PlannedVariant], Filled]
    sweep: Sweep = Sweep()
    choose: Choose = Choose()


@dataclass(frozen=True, slots=True)
class Mistake:
    """One thing wrong in a recipe; ``line`` counts from 1."""

    line: int
    message: str


class RecipeError(InputError):
    """A recipe with every mistake in it."""

    def __init__(self, path: Path, mistakes: Sequence[Mistake]) -> None:
        self.mistakes = tuple(sorted(mistakes, key=lambda m: m.line))
        count = f"{len(mistakes)} mistake{'s' if len(mistakes) > 1 else ''}"
        lines = [f"  {path}:{m.line}: {m.message}" for m in self.mistakes]
        super().__init__("\n".join([f"{path}: {count}", *lines]))


def read(path: str | Path) -> Recipe:
    """Read and check a recipe.

    Raises:
        RecipeError: It has mistakes: all of them, with their lines.
        InputError: There is no such file.
    """
    found = files.existing_file(path, "recipe")
    if found.stat().st_size > MAX_BYTES:
        raise InputError(f"recipe is larger than {MAX_BYTES >> 10} KiB: {found}")
    tree = _tree(found)
    mistakes = _in_steps(tree)
    try:
        recipe = Recipe.model_validate(_plain(tree))
    except ValidationError as error:
        in_form = [_mistake(tree, e) for e in error.errors()]
        raise RecipeError(found, [*in_form, *mistakes]) from error
    if mistakes:
        raise RecipeError(found, mistakes)
    return recipe


def folder() -> Path:
    """Return where the recipes that come with ovtool are."""
    installed = Path(__file__).parent / "bundled"
    return installed if installed.is_dir() else Path(__file__).parents[2] / "recipes"


def find(name: str | Path) -> Path:
    """Return the path of a recipe given as a path, or by the name of one that comes with ovtool.

    Raises:
        InputError: There is neither.
    """
    if Path(name).is_file():
        return Path(name)
    known = {p.stem: p for p in sorted(folder().glob("*.yaml"))}
    if str(name) in known:
        return known[str(name)]
    raise InputError(f"recipe not found: {name}", suggestion(str(name), list(known)))


def _tree(path: Path) -> CommentedMap:
    try:
        text = path.read_text(encoding="utf-8")
        _check_structure(path, text)
        tree = YAML(typ="rt").load(text)
    except UnicodeDecodeError as error:
        raise InputError(f"not a text file: {path}") from error
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise RecipeError(path, [Mistake(line, f"not YAML: {error.problem}")]) from error
    except (YAMLError, ValueError, TypeError) as error:  # TypeError: a key that is a collection
        reason = " ".join(str(error).split())
        raise RecipeError(path, [Mistake(1, f"not YAML: {reason}")]) from error
    if not isinstance(tree, CommentedMap):
        raise RecipeError(path, [Mistake(1, "a recipe is a mapping (recipe: 1, name: ...)")])
    return tree


def _check_structure(path: Path, text: str) -> None:
    """Refuse what a recipe has no use for, and what can crash or hold up whoever reads it."""
    depth = 0
    for event in YAML(typ="rt").parse(text):
        line = event.start_mark.line + 1
        if isinstance(event, AliasEvent):
            raise RecipeError(path, [Mistake(line, f"*{event.anchor}: write it out instead")])
        if getattr(event, "tag", None):
            raise RecipeError(path, [Mistake(line, f"{event.tag}: write it without a tag")])
        depth += isinstance(event, CollectionStartEvent)
        depth -= isinstance(event, CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise RecipeError(path, [Mistake(line, f"more than {MAX_DEPTH} levels deep")])


def _plain(node: Any) -> Any:
    """Return ruamel's nodes as the types that they stand for."""
    if isinstance(node, CommentedMap):
        return {_plain(k): _plain(v) for k, v in node.items()}
    if isinstance(node, CommentedSeq):
        return [_plain(v) for v in node]
    for kind in (bool, int, float, str):
        if isinstance(node, kind):
            return kind(node)
    return node


def _line(node: Any, where: Iterable[object]) -> int:
    """Return the line of a place in the tree, or of what is nearest above it."""
    line = 1
    for part in where:
        known = node.lc.data if isinstance(node, CommentedMap | CommentedSeq) else None
        if not known or part not in known:
            break
        line = known[part][0] + 1
        node = node[part]
    return line


def _mistake(tree: CommentedMap, error: Any) -> Mistake:
    where = error["loc"]
    name = ".".join(str(part) for part in where)
    if error["type"] == "extra_forbidden":
        known = _fields(where[:-1])
        hint = f" ({suggestion(str(where[-1]), known)})" if known else ""
        message = f"unknown key {where[-1]!r}{hint}"
    elif error["type"] == "missing":
        message = f"{name} is missing"
    else:
        said = _IN_YAML.get(error["type"], error["msg"].removeprefix("Value error, "))
        message = f"{name}: {said}, got {reprlib.repr(error['input'])}"
    return Mistake(_line(tree, where), message)


_IN_YAML = {
    "tuple_type": "must be a list",
    "dict_type": "must be a mapping",
    "model_type": "must be a mapping",
    "string_type": "must be text",
}
"""What pydantic says in the words of Python."""


def _fields(where: Sequence[object]) -> list[str]:
    """Return the keys that a place of a recipe knows; empty where they are the user's own."""
    kinds: dict[tuple[object, ...], type[Record]] = {
        (): Recipe,
        ("model",): Model,
        ("model", "preprocessing"): Preprocessing,
        ("data",): DataSets,
        ("data", "calibration"): Data,
        ("data", "training"): Data,
        ("data", "validation"): Evaluation,
        ("data", "evaluation"): Evaluation,
        ("sweep",): Sweep,
        ("sweep", "find_rate"): FindRate,
        ("choose",): Choose,
    }
    place = tuple(where)
    variant = place[:1] == ("variants",) and len(place) == 2
    kind = PlannedVariant if variant else kinds.get(place)
    return list(kind.model_fields) if kind else []


def _in_steps(tree: CommentedMap) -> list[Mistake]:
    """Check what the form does not tell: methods, their settings and data, and equal variants."""
    mistakes = []
    data = tree.get("data")
    there = (
        {k for k, v in data.items() if v is not None} if isinstance(data, CommentedMap) else set()
    )
    seen: dict[str, object] = {}
    for name, steps in _steps(tree).items():
        done = []
        for index, step in enumerate(steps):
            try:
                done.append(_checked(step, there))
            except OvtoolError as error:
                hint = f" ({error.hint})" if error.hint else ""
                line = _line(tree, ("variants", name, "steps", index))
                mistakes.append(Mistake(line, f"{error}{hint}"))
            except ValueError:
                continue  # its form is wrong: the recipe's own check says so
        if len(done) == len(steps) and seen.setdefault(repr(done), name) is not name:
            line = _line(tree, ("variants", name))
            message = f"{name} takes the same steps as {seen[repr(done)]}: make them one variant"
            mistakes.append(Mistake(line, message))
    return mistakes


def _steps(tree: CommentedMap) -> dict[object, list[Any]]:
    """Return the steps of each variant that has the right form."""
    variants = tree.get("variants")
    if not isinstance(variants, CommentedMap):
        return {}
    steps = {
        name: _plain(planned.get("steps", []))
        for name, planned in variants.items()
        if isinstance(planned, CommentedMap)
    }
    return {name: found for name, found in steps.items() if isinstance(found, list)}


def _checked(step: object, there: set[str]) -> PlannedStep:
    """Return a step with all settings of its method.

    Raises:
        ValueError: It has not the form of a step.
        InputError: The method, a setting, or the data that it needs is wrong.
    """
    planned = PlannedStep.model_validate(_step(step))
    settings = parse_settings(planned.method, planned.settings)
    needed = load_method(planned.method).needs_for(settings)
    if lacking := needed & {"calibration", "training", "validation"} - there:
        raise MissingInputError(planned.method, lacking)
    return PlannedStep(method=planned.method, settings=settings.model_dump())


assert set(PRECISIONS) == set(Precision.__args__)  # type: ignore[attr-defined] # noqa: S101 - one list in two forms
