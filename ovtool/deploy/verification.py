"""``ovtool deploy --verify``: the rungs of proof that a bundle computes what was evaluated.

A bundle may come from a stranger.  Its code runs only if it equals what ovtool writes, after all
other files were checked, and in a process of its own.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ovtool import __version__
from ovtool.core import device_names, files, temporary, units
from ovtool.core.errors import InputError, LimitNotMetError
from ovtool.core.progress import SILENT, Progress
from ovtool.core.tabular import Tabular
from ovtool.core.terminal import shows_progress
from ovtool.deploy.bundle_files import VERIFICATION, check_files
from ovtool.deploy.latency import compare_latency, measure_bundle
from ovtool.deploy.python_program import SAMPLE_OUTPUTS, TOKENS
from ovtool.deploy.stored_samples import different_share, largest_difference, read_outputs
from ovtool.deploy.targets import find_target
from ovtool.deploy.targets.target import Rung
from ovtool.devices.discovery import describe_environment, discover, select_available

if TYPE_CHECKING:
    from ovtool.core.sweep_spec import MeasurementSettings
    from ovtool.deploy.manifest import Manifest
    from ovtool.deploy.python_program import ProgramRun

_SHOWN = 3


@dataclass(frozen=True, slots=True, repr=False)
class Verification(Tabular):
    """The rungs of proof that a bundle has reached.

    Args:
        bundle: Folder of the bundle.
        package: Name of its model.
        label: Name of its row.
        device: Device that ran it.
        machine: Machine that ran it.
        difference: Largest difference from the stored outputs, relative to the largest output; of
            a language model, the share of tokens that differ.
        tolerance: Largest difference that passes.
        finished: Time of the end, UTC.
    """

    bundle: str
    package: str
    label: str
    device: str
    machine: str
    rungs: tuple[Rung, ...]
    difference: float
    tolerance: float
    finished: str

    def _title(self) -> str:
        reached = sum(rung.reached is True for rung in self.rungs)
        return f"{self.bundle} on {self.device}: {reached} of {len(self.rungs)} rungs reached"

    def _rows(self) -> list[dict[str, Any]]:
        return [asdict(rung) for rung in self.rungs]

    def to_json(self) -> dict[str, Any]:
        """Return the verification as JSON types."""
        return asdict(self)


@shows_progress()
def verify_bundle(
    bundle: str | Path,
    *,
    device: str | None = None,
    allow_other_device: bool = False,
    allow_other_version: bool = False,
    latency: bool = True,
    settings: MeasurementSettings | None = None,
    progress: Progress = SILENT,
) -> Verification:
    """Check the files of a bundle, run it on its samples, and measure its latency.

    Args:
        bundle: Folder of the bundle.
        device: Device to run on; the one of the bundle by default.
        allow_other_device: Whether a device other than that of the bundle may run it.
        allow_other_version: Whether other versions of openvino or numpy may run it.
        latency: Whether to measure the latency.
        settings: How to measure the latency.
        progress: Receives the stages.

    Raises:
        InputError: A file is missing, was changed or is not of the bundle; the device or a version
            is another one; or the program of the bundle fails.
        LimitNotMetError: The outputs differ from the stored ones by more than the tolerance.
        MissingDeviceError: The device is not available.
    """
    folder = Path(bundle)
    verification = run_checks(
        folder,
        device=device,
        allow_other_device=allow_other_device,
        allow_other_version=allow_other_version,
        latency=latency,
        settings=settings,
        progress=progress,
    )
    with contextlib.suppress(OSError, InputError):  # a folder that is read-only, or of others
        files.claim_files(folder, [VERIFICATION])
        write_verification(folder, verification)
    return verification


def write_verification(folder: Path, verification: Verification) -> None:
    """Write the rungs beside the files of a bundle."""
    content = json.dumps(units.finite({"schema": 1, **verification.to_json()}), indent=1)
    files.write_text(folder / VERIFICATION, content + "\n")


def run_checks(
    folder: Path,
    *,
    device: str | None = None,
    allow_other_device: bool = False,
    allow_other_version: bool = False,
    latency: bool = True,
    settings: MeasurementSettings | None = None,
    shown: Path | None = None,
    progress: Progress = SILENT,
) -> Verification:
    """Return the rungs of a bundle without writing them; raises as :func:`verify_bundle`.

    ``shown`` is the final folder of a bundle that is still in a temporary one.
    """
    progress.start(f"checking the files of {shown or folder}")
    manifest = check_files(folder)
    target = find_target(manifest.target)
    rungs = [
        Rung("files", True, f"{len(manifest.files)} hashes equal, no other file"),
        Rung("code", True, f"equals what ovtool {__version__} writes"),
        _check_versions(manifest, allowed=allow_other_version),
    ]
    chosen = device or manifest.trial.device
    rungs.append(_check_device(manifest, chosen, allowed=allow_other_device))
    progress.start(f"running {manifest.package} on {chosen}")
    with temporary.scratch_folder("bundle") as scratch:
        run = target.run(folder, manifest, chosen, scratch)
        rungs.append(_check_properties(manifest, run.description))
        rungs.append(Rung("program", True, target.program_evidence(manifest)))
        difference = _compare_outputs(folder, manifest, run)
        rungs.append(_check_outputs(manifest, difference))
        rungs += target.further_rungs(folder, manifest, run)
        if manifest.docker:
            rungs.append(Rung("image", None, "ovtool does not build images"))
        environment = describe_environment()
        if latency:
            progress.start(f"measuring {manifest.package} on {chosen}")
            measured = measure_bundle(folder, manifest, chosen, scratch, settings)
            latencies = compare_latency(manifest, measured, environment.machine)
            rungs.append(Rung("latency", latencies.inside, latencies.text))
    return Verification(
        bundle=str(shown or folder),
        package=manifest.package,
        label=manifest.row.label,
        device=chosen,
        machine=environment.machine,
        rungs=tuple(rungs),
        difference=difference,
        tolerance=manifest.samples.tolerance,
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _check_versions(manifest: Manifest, *, allowed: bool) -> Rung:
    """Compare the installed versions of what the bundle imports."""
    others = []
    checked = [p for p in manifest.packages if p.direct and p.purpose == "model"]
    for package in checked:
        try:
            installed = version(package.name)
        except PackageNotFoundError:
            raise InputError(f"{package.name}, which the bundle needs, is not installed") from None
        if installed != package.version:
            others.append(f"{package.name} {installed}, measured with {package.version}")
    if not others:
        shown = ", ".join(f"{p.name} {p.version}" for p in checked)
        return Rung("versions", True, shown)
    if not allowed:
        raise InputError(
            f"another version: {'; '.join(others)}",
            "pip install -r requirements.txt, or --allow-other-version",
        )
    return Rung("versions", False, f"allowed: {'; '.join(others)}")


def _check_device(manifest: Manifest, device: str, *, allowed: bool) -> Rung:
    """Compare the device with the one that stored the outputs."""
    select_available([device], strict=True)
    name, wanted = device_full_name(device), manifest.requires.full_name
    if device == manifest.trial.device and name == wanted:
        return Rung("device", True, f"{device}: {name}")
    if not allowed:
        raise InputError(
            f"another device: {device} ({name}), measured on {manifest.trial.device} ({wanted})",
            "--allow-other-device runs it all the same",
        )
    return Rung("device", False, f"allowed: {device} ({name}), measured on {wanted}")


def device_full_name(device: str) -> str:
    """Return the plugin's description of a device; of a virtual one, those of its members."""
    available = [d for d in discover() if d.available]
    if not device_names.is_virtual(device):
        return next((d.full_name for d in available if d.name == device), device)[:500]
    members = device_names.members(device)
    behind = [d for d in available if not members or any(_names(m, d.name) for m in members)]
    return ", ".join(f"{d.name} {d.full_name}" for d in behind)[:500]


def _names(member: str, device: str) -> bool:
    """Whether a member of a virtual device is a device: ``GPU`` is every GPU."""
    return member == device or device.startswith(f"{member}.")


def _check_properties(manifest: Manifest, described: dict[str, Any]) -> Rung:
    """Compare the properties that the compiled model reports with those of the bundle."""
    reported = described["properties"]
    silent = [name for name in manifest.properties if reported.get(name) is None]
    for name, value in manifest.properties.items():
        if name not in silent and reported[name].upper() != value.upper():
            raise InputError(
                f"property {name}: the compiled model has {reported[name]}, the bundle {value}"
            )
    count = len(manifest.properties) - len(silent)
    evidence = f"{count} compiled and read back"
    if silent:
        evidence += f"; accepted, not reported by the device: {units.listing(silent, _SHOWN)}"
    return Rung("properties", True, evidence)


def _compare_outputs(folder: Path, manifest: Manifest, run: ProgramRun) -> float:
    """Return the largest difference from the stored outputs; of texts, the share of tokens."""
    count = manifest.samples.count
    names = [port.name for port in manifest.outputs] if manifest.text is None else [TOKENS]
    outputs = read_outputs(run.outputs, names, count)
    stored = read_outputs(folder / SAMPLE_OUTPUTS, names, count)
    if manifest.text is None:
        return largest_difference(outputs, stored)
    return different_share(outputs[0], stored[0])


def _check_outputs(manifest: Manifest, difference: float) -> Rung:
    tolerance = manifest.samples.tolerance
    if manifest.text is not None:
        share = f"{100 * (1 - difference):.3g}% of the greedy tokens are equal"
        if difference:
            raise LimitNotMetError(
                f"the texts are not those of the evaluated model: {share}",
                "on another device or version, deploy again from a sweep there",
            )
        return Rung("outputs", True, share)
    text = f"largest difference {difference:.2g} of the largest output, tolerance {tolerance:.2g}"
    if not difference <= tolerance:
        raise LimitNotMetError(
            f"the outputs are not those of the evaluated model: {text}",
            "on another device or version, deploy again from a sweep there",
        )
    return Rung("outputs", True, text)
