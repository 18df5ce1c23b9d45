"""The verb deploy: write the chosen model as a bundle that runs without ovtool."""

from __future__ import annotations

import importlib.util
import platform
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from ovtool import __version__
from ovtool.core import files
from ovtool.core.device_names import kind_of
from ovtool.core.errors import InputError
from ovtool.core.fields import with_fields
from ovtool.core.progress import SILENT, Progress
from ovtool.core.registry import missing_package
from ovtool.core.tabular import Tabular
from ovtool.core.terminal import shows_progress
from ovtool.deploy.content import load_content
from ovtool.deploy.manifest import (
    MANIFEST,
    BundleFile,
    Licenses,
    Manifest,
    MeasuredRow,
    Origin,
    Requirement,
    format_manifest,
    read_manifest,
)
from ovtool.deploy.packages import list_packages
from ovtool.deploy.plan import narrow_rows, plan_bundle
from ovtool.deploy.rendering import binary_paths, render_texts
from ovtool.deploy.targets import TARGETS, find_target
from ovtool.deploy.targets.python import SERVER_PACKAGES
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

    from ovtool.core.notes import Note
    from ovtool.core.sweep_spec import MeasurementSettings
    from ovtool.deploy.content import Content
    from ovtool.deploy.plan import BundlePlan
    from ovtool.deploy.targets.target import Target
    from ovtool.selection.choice import Choice


@dataclass(frozen=True, slots=True, repr=False)
class Bundle(Tabular):
    """A bundle on disk, from :func:`deploy`.

    Args:
        package: Name of the model in it.
        command: How to run it, in its folder.
        choice: The recommendation that it runs.
        verification: The rungs of proof that it has reached.
        notes: Warnings.
    """

    folder: Path
    target: str
    package: str
    command: str
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
    server: bool = False,
    docker: bool = False,
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
        target: Kind of the bundle, a key of ``TARGETS``.
        variant: Choose among the rows of this variant only.
        device: Choose among the rows of this device only.
        batch: Choose among the rows with this batch only.
        data: Dataset of the few samples that are stored; noise by default. For a language model, a
            text file with a prompt a line.
        classes: File with the name of a class in each line, in the order of the outputs.
        name: Name of the Python package; by default that of the variant.
        server: Whether the bundle has a KServe v2 server; for the target ``python``.
        docker: Whether the bundle has a Dockerfile.
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
    kind = find_target(target)
    folder = Path(out)
    files.check_new_folder(folder, force)
    spec = with_fields(ChoiceSpec, spec, fields)
    paths = files.path_list(sweeps)
    table = narrow_rows(load_results(paths), variant, device, batch)
    licenses = Licenses(model=model_license, data=data_license)
    plan = plan_bundle(paths, table, choose_from(table, spec), name, licenses)
    _check_target(kind, plan, server=server)
    progress.start(f"running {plan.variant.name} on {plan.job.trial.device}")
    content = load_content(plan, data, classes, progress)
    with files.new_folder(folder, force) as temporary:
        _write(temporary, plan, kind, content, server=server, docker=docker)
        verification = run_checks(
            temporary, latency=latency, settings=settings, shown=folder, progress=progress
        )
        write_verification(temporary, verification)
    files.mark_kept(folder, "a bundle")
    return Bundle(
        folder=folder,
        target=target,
        package=plan.package,
        command=kind.command(read_manifest(folder)),
        choice=plan.choice,
        verification=verification,
        notes=content.notes,
    )


def _check_target(target: Target, plan: BundlePlan, *, server: bool = False) -> None:
    """Check that a kind of bundle can have the model, and a server.

    Raises:
        InputError: It cannot.
        MissingDependencyError: The packages of the server, which are pinned, are not installed.
    """
    text = plan.job.trial.generation is not None
    if server and (text or not target.supports_server):
        kind = "of a language model" if text else f"for target {target.name}"
        raise InputError(f"a bundle {kind} has no --server", "target ovms has a server of its own")
    if server:
        _require_server_packages()
    if plan.job.trial.generation is None:
        return
    if not target.supports_text:
        able = ", ".join(name for name, each in TARGETS.items() if each.supports_text)
        raise InputError(
            f"{plan.variant.name} is a language model: target {target.name} does not support it",
            f"targets for language models: {able}",
        )
    if kind_of(plan.job.trial.device) == "NPU":
        raise InputError("bundles of language models do not support the NPU", "--device CPU or GPU")


def _require_server_packages() -> None:
    """Check that the packages of a server, whose versions are pinned, are installed."""
    for name in SERVER_PACKAGES:
        if importlib.util.find_spec(name) is None:
            raise missing_package("--server", ModuleNotFoundError(name=name), "serve")


def _write(
    folder: Path, plan: BundlePlan, target: Target, content: Content, *, server: bool, docker: bool
) -> None:
    """Write the files of a bundle."""
    text = plan.job.trial.generation is not None
    model = folder / target.model_folder(plan.package, text=text)
    model.mkdir(parents=True)
    (folder / "samples").mkdir()
    fields = content.write(folder, model) | {"server": server, "docker": docker}
    manifest = _describe(plan, target, fields)
    texts = render_texts(manifest)
    for path, written_text in texts.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(written_text)
    written = {
        path: BundleFile(sha256=files.sha256(folder / path), bytes=(folder / path).stat().st_size)
        for path in sorted((*texts, *binary_paths(manifest)))
    }
    complete = manifest.model_copy(update={"files": written})
    (folder / MANIFEST).write_bytes(format_manifest(complete))


def _describe(plan: BundlePlan, target: Target, content: dict[str, Any]) -> Manifest:
    """Return the manifest of a bundle, without its files."""
    record, job, row = plan.variant.record, plan.job, plan.choice.winner
    generation = job.trial.generation
    direct = target.packages(
        text=generation is not None,
        images=content["image"] is not None,
        server=content["server"],
    )
    requests = job.trial.requests if generation is None else generation.concurrency
    return Manifest(
        target=target.name,
        package=plan.package,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        ovtool=__version__,
        packages=tuple(list_packages(direct)),
        requires=Requirement(
            full_name=device_full_name(job.trial.device),
            machine=describe_environment().machine[:500],
            python=platform.python_version(),
            system=f"{platform.system()} {platform.machine()}",
        ),
        trial=job.trial,
        requests=requests or 1,
        properties=dict(job.properties),
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
        licenses=plan.licenses,
        **content,
    )
