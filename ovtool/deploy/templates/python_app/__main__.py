"""Command line: infer image files, ``.npy`` or ``.npz`` arrays, and print or save the outputs."""

from __future__ import annotations

import argparse
import json
import sys
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from .model import Arrays, Inputs, Model


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    options = _parse(arguments)
    try:
        with Model(options.device) as model:
            if options.describe:
                text = json.dumps(model.describe(), indent=1)
                options.describe.write_text(text, encoding="utf-8")
            names, samples = [], []
            for path in options.files:
                for name, sample in _read(path, model):
                    names.append(name)
                    samples.append(sample)
            outputs = list(model.infer_samples(samples))
            for name, output in zip(names, outputs, strict=True):
                print("\n".join(_lines(name, output, model, options.top)))
            if options.out:
                _save(options.out, outputs)
    except (ImportError, OSError, RuntimeError, ValueError) as error:
        sys.exit(f"error: {error}")


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=f"python -m {__package__}", description="Infer the model on files."
    )
    parser.add_argument(
        "files",
        nargs="*",
        type=Path,
        help="images (needs Pillow); .npy: the only input; .npz: inputs by name,"
        " [samples, ...] each",
    )
    parser.add_argument("--device", help="OpenVINO device; default: the measured one")
    parser.add_argument("--top", type=int, default=1, help="classes to print for each sample")
    parser.add_argument("--out", type=Path, help="save the outputs by name to this .npz")
    parser.add_argument("--describe", type=Path, help="save what was compiled to this .json")
    return parser.parse_args(arguments)


def _read(path: Path, model: Model) -> Iterator[tuple[str, Inputs]]:
    """Yield the name and the inputs of each sample of a file."""
    if path.suffix.lower() == ".npy":
        array = np.load(path, allow_pickle=False)
        name = model.config["inputs"][0]["name"]
        rank = len(model.config["inputs"][0]["shape"])
        samples = array if array.ndim == rank else array[None]
        yield from ((f"{path}[{row}]", {name: sample}) for row, sample in enumerate(samples))
    elif path.suffix.lower() == ".npz":
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        for row in range(min(map(len, arrays.values()), default=0)):
            yield f"{path}[{row}]", {name: array[row] for name, array in arrays.items()}
    elif model.config["image"] is None:
        message = f"{path}: the model takes arrays, .npy or .npz"
        raise ValueError(message)
    else:
        from .images import read_image

        yield str(path), read_image(path, model.config["image"])


def _lines(name: str, outputs: Arrays, model: Model, top: int) -> Iterator[str]:
    """Yield the highest classes of a sample, or a line for each output."""
    first = next(iter(outputs.values()))
    if len(outputs) == 1 and first.ndim == 1 and first.size > 1:
        for index in np.argsort(-first, kind="stable")[:top]:
            label = f" {model.labels[index]}" if index < len(model.labels) else ""
            yield f"{name}: class {index}{label} ({first[index]:.4g})"
        return
    for output, values in outputs.items():
        text = f"{values.item():.6g}" if values.size == 1 else str(list(values.shape))
        yield f"{name}: {output} {text}"


def _save(path: Path, outputs: Sequence[Arrays]) -> None:
    """Save the outputs of all samples, [samples, ...] by name, or NAME.ROW if sizes differ."""
    saved: Arrays = {}
    for name in outputs[0] if outputs else ():
        rows = [output[name] for output in outputs]
        if len({row.shape for row in rows}) == 1:
            saved[name] = np.stack(rows)
        else:
            saved |= {f"{name}.{index}": row for index, row in enumerate(rows)}
    with zipfile.ZipFile(path, "w") as archive:  # numpy.savez refuses some names
        for name, array in saved.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as stream:
                np.lib.format.write_array(stream, array, allow_pickle=False)


if __name__ == "__main__":
    main()
