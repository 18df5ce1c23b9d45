"""What a bundle computes: its model, and samples with the outputs of the evaluated variant.

:class:`GraphContent` is a graph with stored inputs and outputs, :class:`TextContent` a language
model with stored prompts and tokens.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ovtool.benchmark.process import ProcessRunner
from ovtool.benchmark.session import TrialFailedError
from ovtool.core import temporary
from ovtool.core.errors import InputError
from ovtool.core.notes import Note, make_note
from ovtool.core.system_errors import reading
from ovtool.core.third_party import read_graph
from ovtool.datasets.class_names import read_class_names
from ovtool.deploy import stored_samples
from ovtool.deploy.graph import raw_port, raw_steps, save_graph
from ovtool.deploy.manifest import (
    BundlePort,
    ImageSteps,
    StoredSamples,
    TextSettings,
    bundle_port,
)
from ovtool.deploy.python_program import SAMPLE_INPUTS, SAMPLE_OUTPUTS, TOKENS, run_checked

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ovtool.core.progress import Progress
    from ovtool.core.shapes import Shape
    from ovtool.deploy.plan import BundlePlan
    from ovtool.deploy.stored_samples import References, SamplePairs

DEFAULT_PROMPTS = (
    "The capital of France is",
    "Write one sentence about the sea.",
    "List three prime numbers.",
)
"""Prompts that a bundle of a language model stores without data."""
_MOST_PROMPTS = 8
_MOST_TOKENS = 32


class Content(Protocol):
    """What a bundle computes."""

    @property
    def notes(self) -> tuple[Note, ...]:
        """Warnings."""

    def write(self, folder: Path, model: Path) -> dict[str, Any]:
        """Write the model and the samples of a bundle; return the fields of its manifest."""


def load_content(
    plan: BundlePlan, data: str | Path | None, classes: str | Path | None, progress: Progress
) -> Content:
    """Run the evaluated variant on a few samples.

    Raises:
        InputError: The data or the classes do not fit, or the variant does not run.
    """
    reference = None if data is None else str(data)
    if plan.job.trial.generation is not None:
        if classes is not None:
            raise InputError("a language model has no classes", "leave out --classes")
        prompts = DEFAULT_PROMPTS if reference is None else read_prompts(Path(reference))
        return TextContent(plan, reference or "prompts of ovtool", prompts)
    labels = _read_labels(plan, data, classes)
    notes = () if reference is not None else (make_note("samples-random"),)
    try:
        samples = stored_samples.load_pairs(
            plan.variant, plan.job, plan.transform, reference, progress
        )
        references = stored_samples.infer_references(plan.job, samples.evaluated, ProcessRunner())
    except TrialFailedError as error:
        raise InputError(f"{plan.variant.name} does not run: {error}") from error
    return GraphContent(plan, samples, references, labels, notes)


@dataclass(frozen=True, slots=True)
class GraphContent:
    """A graph, and samples with their outputs."""

    plan: BundlePlan
    samples: SamplePairs
    references: References
    labels: tuple[str, ...]
    notes: tuple[Note, ...]

    def write(self, folder: Path, model: Path) -> dict[str, Any]:
        """Write the graph and the samples; return the fields of the manifest."""
        plan, record = self.plan, self.plan.variant.record
        shapes = save_graph(plan.variant, plan.job, plan.transform, model / "model.xml")
        names = [port.name for port in record.outputs]
        stored_samples.write_samples(folder / SAMPLE_INPUTS, self.samples.bundle)
        stored_samples.write_outputs(folder / SAMPLE_OUTPUTS, names, self.references.outputs)
        transform = plan.transform
        steps = None if transform is None else ImageSteps.of(raw_steps(transform), transform.size)
        return {
            "inputs": _inputs(plan),
            "outputs": tuple(map(bundle_port, record.outputs, shapes)),
            "image": steps,
            "text": None,
            "labels": self.labels,
            "samples": StoredSamples(
                data=self.samples.data,
                count=len(self.samples.bundle),
                tolerance=self.references.tolerance,
                precision_difference=self.references.precision_difference,
            ),
        }


def _inputs(plan: BundlePlan) -> tuple[BundlePort, ...]:
    """Return the inputs of the graph of a bundle."""
    job = plan.job
    if plan.transform is not None:
        port = raw_port(plan.transform)
        shape: Shape = (job.trial.batch, *port.shape[1:])
        return (bundle_port(port, shape, shape),)
    ports = zip(plan.variant.record.inputs, job.shapes, job.data_shapes, strict=True)
    return tuple(bundle_port(port, shape, data_shape) for port, shape, data_shape in ports)


def _read_labels(
    plan: BundlePlan, data: str | Path | None, classes: str | Path | None
) -> tuple[str, ...]:
    """Return the names of the classes; empty if they are not known, or are not those of an output.

    Raises:
        InputError: The file of classes does not fit the outputs.
    """
    folder = Path(data) if data is not None and Path(data).is_dir() else None
    names = read_class_names(
        folder, lambda: read_graph(plan.variant.xml), None if classes is None else Path(classes)
    )
    counts = {port.shape[-1] for port in plan.variant.record.outputs if len(port.shape) > 1}
    if names and len(names) not in counts:
        if classes is None:
            return ()
        raise InputError(
            f"{classes} has {len(names)} classes; the outputs have"
            f" {', '.join(map(str, sorted(counts))) or 'none'}"
        )
    return tuple(re.sub(r"[\r\n]", " ", name) for name in names)


@dataclass(frozen=True, slots=True)
class TextContent:
    """A language model, and prompts with the tokens of greedy search."""

    plan: BundlePlan
    data: str
    prompts: tuple[str, ...]
    notes: tuple[Note, ...] = ()

    def write(self, folder: Path, model: Path) -> dict[str, Any]:
        """Write the files of the model and the tokens; return the fields of the manifest."""
        plan, generation = self.plan, self.plan.job.trial.generation
        variant = plan.variant
        names = tuple(variant.record.companions)
        for path in (variant.xml, variant.bin, *(variant.folder / name for name in names)):
            with reading(path):
                shutil.copyfile(path, model / path.name)
        limit = min(_MOST_TOKENS, generation.output_length if generation else _MOST_TOKENS)
        tokens = _generate_references(plan, self.prompts, limit)
        stored_samples.write_outputs(folder / SAMPLE_OUTPUTS, [TOKENS], [tokens])
        return {
            "inputs": (),
            "outputs": (),
            "image": None,
            "text": TextSettings(files=names, prompts=self.prompts, max_new_tokens=limit),
            "samples": StoredSamples(
                data=self.data, count=len(self.prompts), tolerance=0, precision_difference=None
            ),
        }


def _generate_references(
    plan: BundlePlan, prompts: tuple[str, ...], limit: int
) -> list[NDArray[np.int64]]:
    """Return the tokens of the evaluated variant for each prompt, from a process of its own.

    Raises:
        InputError: The variant does not run.
    """
    request = {
        "folder": str(plan.variant.folder.absolute()),
        "device": plan.job.trial.device,
        "properties": dict(plan.job.properties),
        "prompts": prompts,
        "max_new_tokens": limit,
    }
    with temporary.scratch_folder("references") as scratch:
        (scratch / "request.json").write_text(json.dumps(request), encoding="utf-8")
        module = "ovtool.deploy.text_worker"
        command = [sys.executable, "-m", module, str(scratch / "request.json")]
        run_checked(command, plan.variant.name, scratch)
        tokens = json.loads((scratch / "tokens.json").read_bytes())
    return [np.asarray(each, np.int64) for each in tokens]


def read_prompts(path: Path) -> tuple[str, ...]:
    """Return the first prompts of a text file, one a line.

    Raises:
        InputError: The file is missing, not text, or has no line.
    """
    if not path.is_file():
        raise InputError(
            f"prompts not found: {path}", "--data takes a text file, one prompt a line"
        )
    with reading(path):
        content = path.read_bytes()
    try:
        lines = content.decode("utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not a text file in UTF-8", "one prompt a line") from error
    prompts = tuple(line.strip()[:20_000] for line in lines if line.strip())
    if not prompts:
        raise InputError(f"{path} has no prompt", "one prompt a line")
    return prompts[:_MOST_PROMPTS]
