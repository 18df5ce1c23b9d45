"""``ovtool compress``."""

from __future__ import annotations

from typing import Annotated

from ovtool.cli import options, progress
from ovtool.cli.command import DATA, argument, option
from ovtool.cli.commands.convert import print_variant
from ovtool.cli.spec_options import with_source_options
from ovtool.models.options import SourceOptions

EXAMPLES = (
    "ovtool compress variants/resnet int8 --data images/ --set preset=mixed --out variants/int8",
)


@with_source_options
def command(
    model: options.Model,
    method: Annotated[str, argument("Method; 'ovtool methods' lists them.")],
    out: options.Out,
    source_options: SourceOptions,
    set_: options.Setting = None,
    max_drop: options.MaxDrop = None,
    time_limit: options.TimeLimit = None,
    data: options.Data = None,
    labels: options.Labels = None,
    limit: options.Limit = None,
    train_data: Annotated[
        str | None, option(DATA, "DATA", "Labeled training samples; same forms as --data.")
    ] = None,
    validation_data: options.ValidationData = None,
    metric: options.MetricName = None,
    output: options.JudgedOutputs = None,
    name: options.Name = None,
    force: options.Force = False,
    json: options.Json = False,
) -> None:
    """Compress a model by one method into a new variant; the model stays unchanged."""
    from ovtool import api

    with progress.show_progress() as bar:
        variant = api.compress(
            model,
            method,
            out=out,
            settings=options.parse_settings(set_, max_drop=max_drop, time_limit_s=time_limit),
            data=api.CompressionData(
                calibration=options.build_data_spec(data, labels, limit),
                training=options.build_data_spec(train_data, None, limit),
                validation=options.build_data_spec(validation_data, None, limit),
                metric=metric,
                outputs=tuple(output or ()),
                trust=source_options.trust,
            ),
            name=name,
            options=source_options,
            progress=bar,
            replace=force,
        )
    print_variant(variant, json=json)
