"""A recipe: the steps from a model to a choice, as YAML.

Reading a recipe reports all mistakes together, with their lines.  A recipe imports code only if
the user allows it where the recipe runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError
from ruamel.yaml.comments import CommentedMap

from ovtool.compression.method import MissingInputError
from ovtool.compression.registry import load_method, parse_settings
from ovtool.core.columns import METRIC_COLUMNS, Metric
from ovtool.core.errors import InputError, OvtoolError
from ovtool.core.fields import (
    Count,
    NotEmpty,
    ParsedShape,
    Share,
    TypeName,
    UserInput,
)
from ovtool.core.notation import fold, method_name
from ovtool.core.ports import Preprocessing
from ovtool.core.registry import suggestion
from ovtool.core.sweep_spec import Precisions, SweepSpec
from ovtool.core.yaml_file import Mistake, MistakesError, line_of, load_tree, mistake, plain
from ovtool.datasets.samples import parse_part
from ovtool.fleet.hosts import FleetTarget
from ovtool.models.registry import names_model
from ovtool.selection.choice_spec import ChoiceSpec


def _metric(value: str) -> str:
    value = fold(value, list(METRIC_COLUMNS))
    if value not in METRIC_COLUMNS and ":" not in value:
        raise ValueError(f"unknown metric {value!r} ({suggestion(value, list(METRIC_COLUMNS))})")
    return value


def _part(value: str) -> str:
    try:
        parse_part(value)
    except InputError as error:
        raise ValueError(error.full_text) from error
    return value


Part = Annotated[str, AfterValidator(_part)]
MetricName = Annotated[Metric, AfterValidator(_metric)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=80)]


class ModelSource(UserInput):
    """The source: a path (relative to the recipe), ``sample:NAME`` or ``module:function``."""

    source: str
    weights: str | None = None
    shapes: dict[str, ParsedShape] = Field(default_factory=dict)
    dtypes: dict[str, TypeName] = Field(default_factory=dict)
    layouts: dict[str, str] = Field(default_factory=dict)
    preprocessing: Preprocessing | None = None
    tolerance: Share | None = None


class DataSource(UserInput):
    """Samples: a folder of images, ``.npz``/``.npy``, ``sample:NAME`` or ``noise``."""

    source: str
    labels: str | None = None
    limit: Count | None = None
    part: Part | None = None
    """``1/2``: the first of two random parts of the samples, which share no sample."""


class EvaluationData(DataSource):
    """Held-out samples, the metric that counts as the quality, and the outputs to judge."""

    metric: MetricName | None = None
    outputs: tuple[str, ...] = ()


class RecipeData(UserInput):
    """Data sets, which should share no samples."""

    calibration: DataSource | None = None
    training: DataSource | None = None
    validation: EvaluationData | None = None
    """Samples that settings are chosen by, such as those of an accuracy limit."""
    evaluation: EvaluationData | None = None


class RecipeStep(UserInput):
    """A compression step: a method and its settings."""

    method: Annotated[str, AfterValidator(method_name)]
    settings: dict[str, Any] = Field(default_factory=dict)


def _step(value: object) -> object:
    """Read ``- int8`` and ``- int8: {preset: mixed}``."""
    if isinstance(value, str):
        return {"method": value}
    if isinstance(value, dict) and len(value) == 1:
        ((method, settings),) = value.items()
        return {"method": method, "settings": settings or {}}
    raise ValueError("a step is a method, or a method with its settings (int8: {preset: mixed})")


def _fleet(value: object) -> object:
    """Read ``fleet: hosts.yaml`` and ``fleet: {address: hosts.yaml, hosts: {site: lab}}``."""
    return {"address": value} if isinstance(value, str) else value


class RecipeVariant(UserInput):
    """The compression steps of a variant (none: the uncompressed conversion) and its precisions."""

    steps: tuple[Annotated[RecipeStep, BeforeValidator(_step)], ...] = ()
    precisions: Precisions | None = None
    """Requested inference precisions; None: those of the sweep."""


class Recipe(UserInput):
    """A recipe as written."""

    recipe: Literal[1]
    name: Name
    about: str = ""
    model: ModelSource
    data: RecipeData = RecipeData()
    variants: Annotated[dict[Name, RecipeVariant], NotEmpty]
    sweep: SweepSpec = SweepSpec()
    fleet: Annotated[FleetTarget | None, BeforeValidator(_fleet)] = None
    """Hosts that measure; None: this machine."""
    choose: ChoiceSpec = ChoiceSpec()


def read_recipe(path: str | Path) -> Recipe:
    """Read and check a recipe.

    Raises:
        MistakesError: The recipe has mistakes; the error has all of them, with their lines.
        InputError: The file does not exist.
    """
    file = Path(path)
    tree = load_tree(file, "recipe", "recipe: 1, name: ...")
    mistakes = _check_variants(tree) + _check_quality(tree)
    try:
        recipe = Recipe.model_validate(plain(tree))
    except ValidationError as error:
        mistakes += [mistake(Recipe, tree, details) for details in error.errors()]
        raise MistakesError(file, mistakes) from error
    if mistakes:
        raise MistakesError(file, mistakes)
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
            f"ovtool run {name} --data DIR measures it, and writes its recipe",
        )
    if Path(name).is_file():
        return Path(name)
    known = {p.stem: p for p in sorted(bundled_folder().glob("*.yaml"))}
    if str(name) in known:
        return known[str(name)]
    raise InputError(f"recipe not found: {name}", suggestion(str(name), list(known)))


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
                line = line_of(tree, ("variants", name, "steps", index))
                mistakes.append(Mistake(line, f"{error}{hint}"))
            except ValueError:
                continue  # validation of the form reports this step
        first = first_of.setdefault(repr(valid), name)
        if len(valid) == len(steps) and first is not name:
            line = line_of(tree, ("variants", name))
            mistakes.append(Mistake(line, f"{name} has the same steps as {first}; remove one"))
    return mistakes


def _check_quality(tree: CommentedMap) -> list[Mistake]:
    """Check the limit of quality before the sweep: only errors and the user's metrics exceed 1."""
    limit: Any = plain(tree)
    for key in ("choose", "min_quality"):
        limit = limit.get(key) if isinstance(limit, dict) else None
    metric: Any = plain(tree)
    for key in ("data", "evaluation", "metric"):
        metric = metric.get(key) if isinstance(metric, dict) else None
    unbounded = isinstance(metric, str) and (metric == "mae" or ":" in metric)
    if not isinstance(limit, int | float) or -1 <= limit <= 1 or unbounded:
        return []
    text = f"choose.min_quality: {limit} is out of range: write a share as 90% or 0.9"
    return [Mistake(line_of(tree, ("choose", "min_quality")), text)]


def _steps(tree: CommentedMap) -> dict[object, list[Any]]:
    """Return the steps of each variant that has the right form."""
    variants = tree.get("variants")
    if not isinstance(variants, CommentedMap):
        return {}
    steps = {
        name: plain(variant.get("steps", []))
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
