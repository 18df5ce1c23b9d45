"""The metric of a user, ``module:function``."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ovtool.core.columns import METRIC_COLUMNS
from ovtool.core.errors import InputError
from ovtool.core.registry import suggestion
from ovtool.core.third_party import reason

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ovtool.evaluation.outputs import Rows

    Outputs = Mapping[str, Rows]


def check_metric_name(name: str) -> None:
    """Check that a metric is known or a function, without importing it.

    Raises:
        InputError: The name is unknown.
    """
    if name not in METRIC_COLUMNS and ":" not in name:
        raise InputError(f"unknown metric {name!r}", suggestion(name, list(METRIC_COLUMNS)))


def check_metric(name: str, *, trust: bool) -> None:
    """Check that a metric is known, or a function that may be imported.

    Raises:
        InputError: The name is unknown, or the user has not allowed to import it.
    """
    check_metric_name(name)
    if name not in METRIC_COLUMNS and not trust:
        raise InputError(f"metric {name} imports code", "read the code, then allow it with --trust")


def load_metric(reference: str, *, trust: bool) -> Callable[..., Any]:
    """Return the function of ``module:function``.

    Raises:
        InputError: The name is unknown, or the user has not allowed to import it.
    """
    from ovtool.models.torch import import_function

    check_metric(reference, trust=trust)
    return import_function(reference)


def call_metric(
    reference: str, function: Callable[..., Any], outputs: Outputs, labels: Sequence[Any] | None
) -> float | None:
    """Return the user's metric of outputs by name, [samples, ...], and labels; None if not finite.

    Raises:
        InputError: The function fails, or returns no number.
    """
    try:
        value = float(function(dict(outputs), None if labels is None else list(labels)))
    except Exception as error:  # user code can raise anything
        raise InputError(
            f"metric {reference} raised {type(error).__name__}: {reason(error)}",
            "it gets the outputs by name and the list of labels, and returns a number",
        ) from error
    return value if math.isfinite(value) else None
