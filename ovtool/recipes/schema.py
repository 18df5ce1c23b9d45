"""A recipe: the steps from a model to a choice, as YAML.

Reading a recipe reports all mistakes together, with their lines.  A recipe imports code only if
the user allows it where the recipe runs.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args, get_origin

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from ovtool.compression.method import MissingInputError
from ovtool.compression.registry import load_method, parse_settings
from ovtool.core import files
from ovtool.core.columns import METRIC_COLUMNS, Metric
from ovtool.core.errors import InputError, OvtoolError
from ovtool.core.fields import Count, NotEmpty, ParsedShape, Positive, Record, validation_message
from ovtool.core.input_limits import YamlStructureError, check_yaml
from ovtool.core.ports import Preprocessing
from ovtool.core.registry import suggestion
from ovtool.core.sweep_spec import SweepSpec
from ovtool.core.trial import Precision
from ovtool.models.registry import names_model
from ovtool.selection.choice_spec import ChoiceSpec

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pydantic_core import ErrorDetails

MAX_BYTES = 1 << 16


def _metric(value: str) -> str:
    if value not in METRIC_COLUMNS and ":" not in value:
        raise ValueError(f"unknown metric {value!r} ({suggestion(value, list(METRIC_COLUMNS))})")
    return value


MetricName = Annotated[Metric, AfterValidator(_metric)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=80)]


class ModelSource(Record):
    """The source: a path (relative to the recipe), ``sample:NAME`` or ``module:function``."""

    source: str
    weights: str | None = None
    shapes: dict[str, ParsedShape] = Field(default_factory=dict)
    dtypes: dict[str, str] = Field(default_factory=dict)
    layouts: dict[str, str] = Field(default_factory=dict)
    preprocessing: Preprocessing | None = None
    tolerance: Positive | None = None


class DataSource(Record):
    """Samples: a folder of images, ``.npz``/``.npy``, ``sample:NAME`` or ``noise``."""

    source: str
    labels: str | None = None
    limit: Count | None = None


class EvaluationData(DataSource):
    """Held-out samples, the metric that counts as the quality, and the outputs to judge."""

    metric: MetricName | None = None
    outputs: tuple[str, ...] = ()


class RecipeData(Record):
    """Data sets, which should share no samples."""

    calibration: DataSource | None = None
    training: DataSource | None = None
    validation: EvaluationData | None = None
    """Samples that settings are chosen by, such as those of an accuracy limit."""
    evaluation: EvaluationData | None = None


class RecipeStep(Record):
    """A compression step: a method and its settings."""

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


class RecipeVariant(Record):
    """The compression steps of a variant (none: the uncompressed conversion) and its precisions."""

    steps: tuple[Annotated[RecipeStep, BeforeValidator(_step)], ...] = ()
    precisions: Annotated[tuple[Precision, ...], NotEmpty] | None = None
    """Requested inference precisions; None: those of the sweep."""


class Recipe(Record):
    """A recipe as written."""

    recipe: Literal[1]
    name: Name
    about: str = ""
    model: ModelSource
    data: RecipeData = RecipeData()
    variants: Annotated[dict[Name, RecipeVariant], NotEmpty]
    sweep: SweepSpec = SweepSpec()
    choose: ChoiceSpec = ChoiceSpec()


@dataclass(frozen=True, slots=True)
class Mistake:
    """A mistake in a recipe; ``line`` counts from 1."""

    line: int
    message: str


class RecipeError(InputError):
    """A recipe with mistakes, all of them."""

    def __init__(self, path: Path, mistakes: Sequence[Mistake]) -> None:
        self.mistakes = tuple(sorted(mistakes, key=lambda m: m.line))
        count = f"{len(mistakes)} mistake{'s' if len(mistakes) > 1 else ''}"
        lines = [f"  {path}:{m.line}: {m.message}" for m in self.mistakes]
        super().__init__("\n".join([f"{path}: {count}", *lines]))


def read_recipe(path: str | Path) -> Recipe:
    """Read and check a recipe.

    Raises:
        RecipeError: The recipe has mistakes; the error has all of them, with their lines.
        InputError: The file does not exist.
    """
    file = files.existing_file(path, "recipe")
    if file.stat().st_size > MAX_BYTES:
        raise InputError(f"recipe is larger than {MAX_BYTES >> 10} KiB: {file}")
    tree = _load_tree(file)
    mistakes = _check_variants(tree) + _check_quality(tree)
    try:
        recipe = Recipe.model_validate(_plain(tree))
    except ValidationError as error:
        mistakes += [_mistake(tree, details) for details in error.errors()]
        raise RecipeError(file, mistakes) from error
    if mistakes:
        raise RecipeError(file, mistakes)
    return recipe


def bundled_folder() -> Path:
    """Return the folder of the recipes that come with ovtool."""
    installed = Path(__file__).parent / "bundled"
    return installed if installed.is_dir() else Path(__file__).parents[2] / "recipes"


def find_recipe(name: str | Path) -> Path:
    """Return the path of a recipe, given as a path or as the name of a bundled recipe.

    Raises:
        InputError: The recipe does not exist, or is a model.
    """
    if names_model(str(name)):
        raise InputError(
            f"{name} is a model, not a recipe",
            f"measure it: ovtool sweep {name} --out sweeps/NAME; or name it in a recipe as source",
        )
    if Path(name).is_file():
        return Path(name)
    known = {p.stem: p for p in sorted(bundled_folder().glob("*.yaml"))}
    if str(name) in known:
        return known[str(name)]
    raise InputError(f"recipe not found: {name}", suggestion(str(name), list(known)))


def _load_tree(path: Path) -> CommentedMap:
    try:
        text = path.read_text(encoding="utf-8")
        check_yaml(text)
        tree = YAML(typ="rt").load(text)
    except YamlStructureError as error:
        raise RecipeError(path, [Mistake(error.line, f"{error}")]) from error
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
        raise RecipeError(path, [Mistake(1, "a recipe is a mapping: recipe: 1, name: ...")])
    return tree


def _plain(node: Any) -> Any:
    """Return ruamel's nodes as plain Python types."""
    if isinstance(node, CommentedMap):
        return {_plain(k): _plain(v) for k, v in node.items()}
    if isinstance(node, CommentedSeq):
        return [_plain(v) for v in node]
    for scalar in (bool, int, float, str):
        if isinstance(node, scalar):
            return scalar(node)
    return node


def _line(node: Any, place: Iterable[object]) -> int:
    """Return the line of a place in the tree, or of its nearest ancestor."""
    line = 1
    for part in place:
        known = node.lc.data if isinstance(node, CommentedMap | CommentedSeq) else None
        if not known or part not in known:
            break
        line = known[part][0] + 1
        node = node[part]
    return line


def _mistake(tree: CommentedMap, error: ErrorDetails) -> Mistake:
    place = error["loc"]
    name = ".".join(str(part) for part in place)
    if error["type"] == "extra_forbidden":
        known = _known_keys(place[:-1])
        hint = f" ({suggestion(str(place[-1]), known)})" if known else ""
        message = f"unknown key {place[-1]!r}{hint}"
    elif error["type"] == "missing":
        message = f"{name} is missing"
    else:
        message = f"{name}: {validation_message(error)}"
    return Mistake(_line(tree, place), message)


def _known_keys(place: Sequence[object]) -> list[str]:
    """Return the keys of a place in a recipe; empty where the user names them."""
    model: type[BaseModel] | None = Recipe
    named_by_user = False
    for part in place:
        if named_by_user:
            named_by_user = False
        elif model is None or part not in model.model_fields:
            return []
        else:
            annotation = model.model_fields[str(part)].annotation
            named_by_user, model = get_origin(annotation) is dict, _model_in(annotation)
    return [] if named_by_user or model is None else list(model.model_fields)


def _model_in(annotation: object) -> type[BaseModel] | None:
    """Return the model in an annotation such as ``X | None`` or ``dict[str, X]``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_model_in, get_args(annotation))), None)


def _check_variants(tree: CommentedMap) -> list[Mistake]:
    """Check methods, their settings and data, and equal variants, which the schema cannot."""
    mistakes = []
    data = tree.get("data")
    available = set()
    if isinstance(data, CommentedMap):
        available = {key for key, value in data.items() if value is not None}
    first_of: dict[str, object] = {}
    for name, steps in _steps(tree).items():
        valid = []
        for index, step in enumerate(steps):
            try:
                valid.append(_checked(step, available))
            except OvtoolError as error:
                hint = f" ({error.hint})" if error.hint else ""
                line = _line(tree, ("variants", name, "steps", index))
                mistakes.append(Mistake(line, f"{error}{hint}"))
            except ValueError:
                continue  # validation of the form reports this step
        first = first_of.setdefault(repr(valid), name)
        if len(valid) == len(steps) and first is not name:
            line = _line(tree, ("variants", name))
            mistakes.append(Mistake(line, f"{name} has the same steps as {first}; remove one"))
    return mistakes


def _check_quality(tree: CommentedMap) -> list[Mistake]:
    """Check the limit of quality before the sweep: only errors and the user's metrics exceed 1."""
    limit: Any = _plain(tree)
    for key in ("choose", "min_quality"):
        limit = limit.get(key) if isinstance(limit, dict) else None
    metric: Any = _plain(tree)
    for key in ("data", "evaluation", "metric"):
        metric = metric.get(key) if isinstance(metric, dict) else None
    unbounded = isinstance(metric, str) and (metric == "mae" or ":" in metric)
    if not isinstance(limit, int | float) or -1 <= limit <= 1 or unbounded:
        return []
    text = f"choose.min_quality: {limit} is out of range: a share is from 0 to 1 (90 % is 0.9)"
    return [Mistake(_line(tree, ("choose", "min_quality")), text)]


def _steps(tree: CommentedMap) -> dict[object, list[Any]]:
    """Return the steps of each variant that has the right form."""
    variants = tree.get("variants")
    if not isinstance(variants, CommentedMap):
        return {}
    steps = {
        name: _plain(variant.get("steps", []))
        for name, variant in variants.items()
        if isinstance(variant, CommentedMap)
    }
    return {name: value for name, value in steps.items() if isinstance(value, list)}


def _checked(step: object, available: set[str]) -> RecipeStep:
    """Return a step with all settings of its method.

    Raises:
        ValueError: The step has the wrong form.
        InputError: The method, a setting, or the data that it needs is wrong.
    """
    recipe_step = RecipeStep.model_validate(_step(step))
    settings = parse_settings(recipe_step.method, recipe_step.settings)
    needed = load_method(recipe_step.method).needs_for(settings)
    if absent := needed & {"calibration", "training", "validation"} - available:
        raise MissingInputError(recipe_step.method, absent)
    return RecipeStep(method=recipe_step.method, settings=settings.model_dump())
