"""The data frame of rows: its columns and types, shared quality, and the order of its rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ovtool.core.columns import BY_NAME, COLUMNS
from ovtool.results.rows import CONFIG

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from ovtool.results.sweep_data import SweepInfo

NAMES = tuple(name for column in COLUMNS for name in column.names)
_QUALITY_COLUMNS = (
    "accuracy_top1", "accuracy_top5", "accuracy_characters", "agreement_top1",
    "mean_absolute_error", "mean_average_precision", "mean_iou", "perplexity",
    "perplexity_rise_pct", "kl_divergence", "token_agreement", "greedy_tokens", "custom_metric",
    "output_cosine", "output_relative_error", "output_max_abs_difference",
    "output_size_differs_pct", "quality_loss", "samples_lost", "samples_won",
    "quality_samples", "quality_tokens",
)  # fmt: skip
QUALITY = tuple(name for column in _QUALITY_COLUMNS for name in BY_NAME[column].names)

SHOWN = (
    "variant", "device", "precision", "batch", "load", "shape", "throughput_fps", "latency_p50_ms",
    "latency_estimate_ms", "accuracy_top1", "agreement_top1", "quality_loss", "model_mib",
    "verdict", "status",
)  # fmt: skip
"""Columns that a notebook shows."""


def column_types() -> dict[str, str]:
    """Return the pandas types of the public columns."""
    types = {n: "str" if column.text else "float64" for column in COLUMNS for n in column.names}
    return types | {"batch": "int64"}


def fill_quality(frame: pd.DataFrame) -> None:
    """Fill the quality of a configuration into its rows without quality.

    Quality is evaluated once a configuration, in one of its trials; the last evaluation counts.
    """
    evaluated = frame[list(QUALITY)].notna().any(axis=1)
    if evaluated.all() or not evaluated.any():
        return
    config = list(CONFIG)
    known = frame.loc[evaluated, [*config, *QUALITY]].drop_duplicates(config, keep="last")
    matched = frame.loc[~evaluated, config].merge(known, how="left", on=config)
    frame.loc[~evaluated, list(QUALITY)] = matched[list(QUALITY)].to_numpy()


def sort_positions(frame: pd.DataFrame, sweeps: Sequence[SweepInfo]) -> NDArray[np.int64]:
    """Return the positions of the rows in the order of the table.

    Environments keep their order; variants and shapes have the order of the plans, baselines first.
    """
    import numpy as np
    import pandas as pd

    def planned(column: str, values: Sequence[str]) -> NDArray[Any]:
        """Return positions in a list; values that are not in the list come last."""
        positions = {value: position for position, value in enumerate(dict.fromkeys(values))}
        codes, unique = pd.factorize(frame[column].fillna(""))
        ranks = [positions.get(value, len(positions)) for value in unique]
        return np.array(ranks, dtype=int)[codes]

    def alphabetical(column: str) -> NDArray[Any]:
        codes, _ = pd.factorize(frame[column], sort=True)
        return np.asarray(codes)

    def listed(name: str) -> list[str]:
        return [value for sweep in sweeps for value in getattr(sweep, name)]

    keys = (
        planned("environment", list(frame["environment"].unique())),
        planned("variant_id", [*listed("baselines"), *listed("variants")]),
        planned("precision", ["f32", "default"]),
        alphabetical("precision"),
        alphabetical("device"),
        planned("shape", listed("shapes")),
        planned("data_shape", listed("data_shapes")),
        alphabetical("load"),
        frame["batch"].to_numpy(),
        alphabetical("trial"),
    )
    return np.asarray(np.lexsort(keys[::-1]), dtype=np.int64)
