"""The Python package that runs the model of a bundle: the target python, and the check of others.

Its code is that of the templates, byte for byte; its configuration is a function of the manifest.
"""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ovtool.core import steps
from ovtool.core.companions import LANGUAGE_STEM, STEM
from ovtool.core.errors import InputError
from ovtool.core.input_limits import parse_json
from ovtool.core.ports import Port
from ovtool.core.third_party import condense
from ovtool.datasets.samples import numpy_type
from ovtool.deploy.texts import json_text, template
from ovtool.system.child_process import run_program

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from ovtool.deploy.manifest import BundlePort, Manifest

PIPELINE = "pipeline"
"""Folder of the files of a language model in the package."""
CODE = ("__init__.py", "__main__.py", "model.py")
IMAGE_CODE = "images.py"
SAMPLE_INPUTS, SAMPLE_OUTPUTS = "samples/inputs.npz", "samples/outputs.npz"
PROMPTS = "samples/prompts.json"
TOKENS = "tokens"
"""Name of the stored and generated tokens, as of an output."""
_PROGRAM_LIMIT_S = 600.0
_OUTPUTS, _DESCRIPTION, _LOG = "outputs.npz", "description.json", "log.txt"

USAGE = """from {package} import Model

with Model() as model:
    outputs = model.infer(inputs)        # one request of {batch}
    future = model.submit(inputs)        # the same, asynchronously: future.result()
    for outputs in model.infer_samples(samples):  # any number of samples, in full batches
        ...
"""
TEXT_USAGE = """from {package} import Model

model = Model()
texts = model.generate(["The capital of France is"], max_new_tokens=100)  # prompts run together
model.stream("The capital of France is", print)                           # piece by piece
"""


@dataclass(frozen=True, slots=True)
class ProgramRun:
    """What the program of a bundle wrote: its outputs, and what was compiled."""

    outputs: Path
    description: dict[str, Any]


def package_texts(manifest: Manifest) -> dict[str, str]:
    """Return the code of the package and its configuration, by path."""
    folder, text = manifest.package, manifest.text is not None
    code = [*CODE, IMAGE_CODE] if manifest.image is not None else [*CODE]
    app = "text_app" if text else "python_app"
    texts = {f"{folder}/{name}": template(app, name) for name in code}
    texts[f"{folder}/config.json"] = json_text(
        _text_config(manifest) if text else _config(manifest)
    )
    if manifest.labels:
        texts[f"{folder}/labels.txt"] = "".join(f"{name}\n" for name in manifest.labels)
    return texts


def _config(manifest: Manifest) -> dict[str, Any]:
    image = manifest.image
    return {
        "device": manifest.trial.device,
        "properties": manifest.properties,
        "batch": manifest.trial.batch,
        "requests": manifest.requests,
        "inputs": [_port(port) | {"type": numpy_name(port)} for port in manifest.inputs],
        "outputs": [_port(port) for port in manifest.outputs],
        "image": None if image is None else image.model_dump(mode="json"),
    }


def _text_config(manifest: Manifest) -> dict[str, Any]:
    return {
        "device": manifest.trial.device,
        "properties": manifest.properties,
        "concurrency": manifest.requests,
    }


def _port(port: BundlePort) -> dict[str, Any]:
    return {"name": port.name, "shape": list(port.shape), "batch_axis": port.batch_axis}


def numpy_name(port: BundlePort) -> str:
    """Return the name of the NumPy type of a port.

    Raises:
        InputError: NumPy has no such type.
    """
    dtype: np.dtype[Any] = numpy_type(Port(name=port.name, shape=port.shape, dtype=port.dtype))
    return str(dtype.name)


def model_files(manifest: Manifest) -> tuple[str, ...]:
    """Return the names of the files of the model: graph, weights, tokenizer and configuration."""
    stem = STEM if manifest.text is None else LANGUAGE_STEM
    return (
        f"{stem}.xml",
        f"{stem}.bin",
        *(() if manifest.text is None else manifest.text.files),
    )


def run_model(
    folder: Path, model: Path, manifest: Manifest, device: str, scratch: Path
) -> ProgramRun:
    """Run a model with the properties of a bundle: by the package, rendered beside it."""
    app = scratch / "app"
    inside = app / manifest.package / (PIPELINE if manifest.text is not None else "")
    inside.mkdir(parents=True)
    for path, text in package_texts(manifest).items():
        (app / path).write_bytes(text.encode())
    for name in model_files(manifest):
        try:
            os.link(model / name, inside / name)
        except OSError:  # another file system
            shutil.copyfile(model / name, inside / name)
    return run_package(app, folder, manifest, device, scratch)


def run_package(
    app: Path, folder: Path, manifest: Manifest, device: str, scratch: Path
) -> ProgramRun:
    """Run the package in the folder ``app`` on the samples of a bundle.

    Raises:
        InputError: The program fails.
    """
    samples = folder / (SAMPLE_INPUTS if manifest.text is None else PROMPTS)
    command = [
        *(sys.executable, "-P", "-B", "-X", f"pycache_prefix={scratch / 'pycache'}"),
        *("-m", manifest.package, str(samples.absolute()), "--device", device),
        *("--out", str(scratch / _OUTPUTS), "--describe", str(scratch / _DESCRIPTION)),
    ]
    weights = app / manifest.package / (PIPELINE if manifest.text is not None else "")
    with steps.limited(f"running {manifest.package}", weights / model_files(manifest)[1]):
        run_checked(command, manifest.package, scratch, {"PYTHONPATH": str(app.absolute())})
    return ProgramRun(scratch / _OUTPUTS, dict(parse_json((scratch / _DESCRIPTION).read_bytes())))


def run_checked(
    command: list[str], name: str, scratch: Path, environment: dict[str, str] | None = None
) -> str:
    """Run a program in a process of its own; return what it printed.

    Raises:
        InputError: It fails, or does not end.
    """
    log = scratch / _LOG
    status = run_program(
        command, log, timeout_s=_PROGRAM_LIMIT_S, environment=environment or {}, folder=scratch
    )
    printed = log.read_text(encoding="utf-8", errors="replace")
    if status != 0:
        _, _, message = printed.rpartition("error: ")
        why = "time limit" if status is None else f"exit code {status}"
        raise InputError(f"{name} failed ({why}): {condense(message, 200)}")
    return printed
