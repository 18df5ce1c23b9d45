"""The verb deploy: write the chosen model as a bundle that runs without ovtool."""

from __future__ import annotations

import platform
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Unpack

from ovtool import __version__
from ovtool.benchmark.process import ProcessRunner
from ovtool.benchmark.session import TrialFailedError
from ovtool.core import files
from ovtool.core.errors import InputError
from ovtool.core.fields import with_fields
from ovtool.core.notes import Note, make_note
from ovtool.core.progress import SILENT, Progress
from ovtool.core.registry import suggestion
from ovtool.core.tabular import Tabular
from ovtool.core.terminal import shows_progress
from ovtool.core.third_party import read_graph
from ovtool.datasets.class_names import read_class_names
from ovtool.deploy import stored_samples
from ovtool.deploy.graph import raw_port, raw_steps, save_graph
from ovtool.deploy.manifest import (
    MANIFEST,
    BundleFile,
    BundlePort,
    ImageSteps,
    Licenses,
    Manifest,
    MeasuredRow,
    Origin,
    Requirement,
    StoredSamples,
    bundle_port,
    format_manifest,
)
from ovtool.deploy.packages import list_packages
from ovtool.deploy.plan import narrow_rows, plan_bundle
from ovtool.deploy.rendering import SAMPLE_INPUTS, SAMPLE_OUTPUTS, binary_paths, render_texts
from ovtool.deploy.verification import (
    Verification,
    device_full_name,
    run_checks,
    write_verification,
)
from ovtool.devices.discovery import describe_environment
from ovtool.results.table import load_results
from ovtool.selection.choice import choose_from
from ovtool.selection.choice_spec import ChoiceFields, ChoiceSpec

if TYPE_CHECKING:
    from collections.abc import Sequence
    from os import PathLike

    from ovtool.core.shapes import Shape
    from ovtool.core.sweep_spec import MeasurementSettings
    from ovtool.deploy.plan import BundlePlan
    from ovtool.deploy.stored_samples import References, SamplePairs
    from ovtool.selection.choice import Choice

Target = Literal["python"]
TARGETS: tuple[Target, ...] = ("python",)


@dataclass(frozen=True, slots=True, repr=False)
class Bundle(Tabular):
    """A bundle on disk, from :func:`deploy`.

    Args:
        package: Name of the Python package in it.
        choice: The recommendation that it runs.
        verification: The rungs of proof that it has reached.
        notes: Warnings.
    """

    folder: Path
    target: Target
    package: str
    choice: Choice
    verification: Verification
    notes: tuple[Note, ...] = ()

    def __fspath__(self) -> str:
        """Return the folder: a bundle is a path."""
        return str(self.folder)

    def _title(self) -> str:
        return f"{self.folder}, {self.target}: {self.choice.headline}"

    def _rows(self) -> list[dict[str, Any]]:
        return [
            {"rung": rung.name, "reached": rung.reached, "evidence": rung.evidence}
            for rung in self.verification.rungs
        ]


@shows_progress()
def deploy(
    sweeps: str | PathLike[str] | Sequence[str | PathLike[str]],
    out: str | Path,
    *,
    target: str = "python",
    variant: str | None = None,
    device: str | None = None,
    batch: int | None = None,
    data: str | Path | None = None,
    classes: str | Path | None = None,
    name: str | None = None,
    model_license: str = "unknown",
    data_license: str = "unknown",
    latency: bool = True,
    force: bool = False,
    settings: MeasurementSettings | None = None,
    spec: ChoiceSpec | None = None,
    progress: Progress = SILENT,
    **fields: Unpack[ChoiceFields],
) -> Bundle:
    """Write the chosen model as a bundle, run it, and compare it with the evaluated variant.

    Args:
        sweeps: Folders of sweeps.
        out: Folder of the bundle.
        target: Kind of the bundle: ``python``.
        variant: Choose among the rows of this variant only.
        device: Choose among the rows of this device only.
        batch: Choose among the rows with this batch only.
        data: Dataset of the few samples that are stored; noise by default.
        classes: File with the name of a class in each line, in the order of the outputs.
        name: Name of the Python package; by default that of the variant.
        model_license: License of the model.
        data_license: License of the data.
        latency: Whether to measure the latency of the bundle.
        force: Whether to replace an existing bundle.
        settings: How to measure the latency.
        spec: Objective and limits; ``fields`` are fields of it.
        progress: Receives the stages.

    Raises:
        NothingFitsError: No row meets the limits.
        InputError: The variant is not on this machine, or a bundle cannot run it.
        LimitNotMetError: The outputs of the bundle are not those of the variant.
        MissingDeviceError: The device is not available.
    """
    if target not in TARGETS:
        raise InputError(f"unknown target {target!r}", suggestion(target, list(TARGETS)))
    folder = Path(out)
    files.check_new_folder(folder, force)
    spec = with_fields(ChoiceSpec, spec, fields)
    paths = files.path_list(sweeps)
    table = narrow_rows(load_results(paths), variant, device, batch)
    licenses = Licenses(model=model_license, data=data_license)
    plan = plan_bundle(paths, table, choose_from(table, spec), name, licenses)
    progress.start(f"running {plan.variant.name} on {plan.job.trial.device}")
    labels = _read_labels(plan, data, classes)
    notes = () if data is not None else (make_note("samples-random"),)
    try:
        samples = stored_samples.load_pairs(
            plan.variant, plan.job, plan.transform, None if data is None else str(data), progress
        )
        references = stored_samples.infer_references(plan.job, samples.evaluated, ProcessRunner())
    except TrialFailedError as error:
        raise InputError(f"{plan.variant.name} does not run: {error}") from error
    with files.new_folder(folder, force) as temporary:
        _write(temporary, plan, samples, references, labels)
        verification = run_checks(
            temporary, latency=latency, settings=settings, shown=folder, progress=progress
        )
        write_verification(temporary, verification)
    files.mark_kept(folder, "a bundle")
    return Bundle(folder, "python", plan.package, plan.choice, verification, notes)


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


def _write(
    folder: Path,
    plan: BundlePlan,
    samples: SamplePairs,
    references: References,
    labels: tuple[str, ...],
) -> None:
    """Write the files of a bundle."""
    (folder / plan.package).mkdir()
    (folder / "samples").mkdir()
    graph = folder / plan.package / "model.xml"
    shapes = save_graph(plan.variant, plan.job, plan.transform, graph)
    names = [port.name for port in plan.variant.record.outputs]
    stored_samples.write_samples(folder / SAMPLE_INPUTS, samples.bundle)
    stored_samples.write_outputs(folder / SAMPLE_OUTPUTS, names, references.outputs)
    manifest = _describe(plan, samples, references, labels, shapes)
    texts = render_texts(manifest)
    for path, content in texts.items():
        (folder / path).write_bytes(content)
    written = {
        path: BundleFile(sha256=files.sha256(folder / path), bytes=(folder / path).stat().st_size)
        for path in sorted((*texts, *binary_paths(manifest)))
    }
    complete = manifest.model_copy(update={"files": written})
    (folder / MANIFEST).write_bytes(format_manifest(complete))


def _describe(
    plan: BundlePlan,
    samples: SamplePairs,
    references: References,
    labels: tuple[str, ...],
    shapes: tuple[Shape, ...],
) -> Manifest:
    """Return the manifest of a bundle, without its files."""
    record, job, row = plan.variant.record, plan.job, plan.choice.winner
    outputs = zip(record.outputs, shapes, strict=True)
    device = plan.job.trial.device
    return Manifest(
        target="python",
        package=plan.package,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        ovtool=__version__,
        packages=tuple(list_packages(images=plan.transform is not None)),
        requires=Requirement(
            full_name=device_full_name(device),
            machine=describe_environment().machine[:500],
            python=platform.python_version(),
            system=f"{platform.system()} {platform.machine()}",
        ),
        trial=job.trial,
        requests=job.trial.requests or 1,
        properties=dict(job.properties),
        inputs=_inputs(plan),
        outputs=tuple(bundle_port(port, shape) for port, shape in outputs),
        image=None
        if plan.transform is None
        else ImageSteps.of(raw_steps(plan.transform), plan.transform.size),
        labels=labels,
        variant=Origin(
            name=plan.variant.name,
            sha256=record.sha256,
            source=record.source.reference,
            source_sha256=record.source.sha256,
            steps=tuple(step.method for step in record.steps),
        ),
        row=MeasuredRow(
            kind="measured",
            label=plan.choice.label,
            machine=plan.machine[:500],
            verdict=row["verdict"],
            figures=dict(row),
        ),
        samples=StoredSamples(
            data=samples.data,
            count=len(samples.bundle),
            tolerance=references.tolerance,
            precision_difference=references.precision_difference,
        ),
        licenses=plan.licenses,
    )


def _inputs(plan: BundlePlan) -> tuple[BundlePort, ...]:
    """Return the inputs of the graph of a bundle."""
    job = plan.job
    if plan.transform is not None:
        port = raw_port(plan.transform)
        shape = (job.trial.batch, *port.shape[1:])
        return (bundle_port(port, shape, shape),)
    ports = zip(plan.variant.record.inputs, job.shapes, job.data_shapes, strict=True)
    return tuple(bundle_port(port, shape, data_shape) for port, shape, data_shape in ports)
