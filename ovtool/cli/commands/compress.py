"""``ovtool compress``."""

from __future__ import annotations

from typing import Annotated

from ovtool.cli import options, progress
from ovtool.cli.command import DATA, argument, option
from ovtool.cli.commands.convert import print_variant
from ovtool.cli.spec_options import with_source_options
from ovtool.core.notation import method_name
from ovtool.models.options import SourceOptions

EXAMPLES = (
    "ovtool compress variants/resnet int8 --data images/ --set preset=mixed --out variants/int8",
    "ovtool compress variants/smollm2 weights --data text.txt --max-perplexity-rise 5%",
)


@with_source_options
def command(
    model: options.Model,
    method: Annotated[str, argument("Method; 'ovtool methods' lists them.", kind="METHOD")],
    source_options: SourceOptions,
    out: Annotated[str | None, options.out_option("variants/NAME-METHOD")] = None,
    set_: options.Setting = None,
    max_drop: options.MaxDrop = None,
    max_perplexity_rise: options.MaxPerplexityRise = None,
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
            method_name(method),
            out=out or options.default_out("compress", model, f"-{method_name(method)}"),
            settings=options.parse_settings(
                set_,
                max_drop=max_drop,
                max_perplexity_rise=max_perplexity_rise,
                time_limit_s=time_limit,
            ),
            data=data,
            labels=labels,
            limit=limit,
            train_data=train_data,
            validation_data=validation_data,
            metric=metric,
            outputs=tuple(output or ()),
            name=name,
            options=source_options,
            progress=bar,
            force=force,
        )
    print_variant(variant, json=json)
