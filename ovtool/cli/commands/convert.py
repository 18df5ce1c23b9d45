"""``ovtool convert``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from ovtool.cli import console, options, progress
from ovtool.cli.command import DATA, argument, option
from ovtool.cli.console import print_unwrapped
from ovtool.cli.spec_options import with_source_options
from ovtool.core import units
from ovtool.models.options import SourceOptions

if TYPE_CHECKING:
    from ovtool.core.variant import Variant

_SOURCE = (
    "Model: IR (.xml), .onnx, SavedModel or Hugging Face folder, .gguf, .tflite, .pdmodel, .pt2,"
    " module:function or sample:NAME."
)
CheckData = Annotated[
    str | None,
    option(DATA, "DATA", "Samples for the output check: image folder, .npz, .npy, sample:NAME."),
]
Values = Annotated[
    list[str] | None,
    option(
        DATA, "NAME=NUMBER", "Value that fills an input in the output check: sr=16000.", "--value"
    ),
]
EXAMPLES = ("ovtool convert resnet.onnx --out variants/resnet --mean 127 --scale 128",)


@with_source_options
def command(
    source: Annotated[str, argument(_SOURCE, kind="MODEL")],
    source_options: SourceOptions,
    out: Annotated[str | None, options.out_option("variants/NAME")] = None,
    data: CheckData = None,
    value: Values = None,
    name: options.Name = None,
    force: options.Force = False,
    json: options.Json = False,
) -> None:
    """Convert a model to OpenVINO IR and compare its outputs with the source's."""
    from ovtool import api
    from ovtool.core.shapes import parse_named_numbers

    checked = {"data": data, "values": parse_named_numbers(value or (), "--value")}
    source_options = source_options.model_copy(update=checked)
    with progress.show_progress() as bar:
        variant = api.convert(
            source,
            out=out or options.default_out("convert", source),
            name=name,
            options=source_options,
            progress=bar,
            force=force,
        )
    print_variant(variant, json=json)


def print_variant(variant: Variant, *, json: bool) -> None:
    """Print a variant."""
    record = variant.record
    if json:
        document = record.model_dump(mode="json")
        console.print_json(document | {"id": variant.id, "folder": str(variant.folder)})
        return
    size = f"{units.text(variant.model_mib)} MiB"
    print_unwrapped(f"{variant.folder}: {variant.name}, {size}, {record.batch_text}")
    if record.batch_note:
        print_unwrapped(f"  {record.batch_note}")
    for kind, ports in (("input", record.inputs), ("output", record.outputs)):
        for port in ports:
            shape = "x".join("?" if d == -1 else str(d) for d in port.shape)
            print_unwrapped(
                f"  {kind} {port.name}: {port.dtype} {shape} {port.layout or ''}".rstrip()
            )
    for step in record.steps:
        data = f", on {step.data}" if step.data else ""
        print_unwrapped(f"  step {step.method}: {step.seconds:.1f} s{data}")
