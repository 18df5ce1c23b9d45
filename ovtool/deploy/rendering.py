"""The text files of a bundle: each is a function of its manifest, so that it can be checked."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

from ovtool.core import units
from ovtool.deploy.python_program import PROMPTS, SAMPLE_INPUTS, SAMPLE_OUTPUTS, model_files
from ovtool.deploy.targets import find_target
from ovtool.deploy.targets.target import samples_text
from ovtool.deploy.texts import DOCKERFILE, json_text

if TYPE_CHECKING:
    from ovtool.deploy.manifest import Manifest, Package
    from ovtool.deploy.targets.target import Target

README, SBOM = "README.md", "sbom.cdx.json"


def render_texts(manifest: Manifest) -> dict[str, bytes]:
    """Return the content of all text files of a bundle but its manifest, by path."""
    target = find_target(manifest.target)
    texts = target.texts(manifest)
    if manifest.text is not None:
        settings = manifest.text
        prompts = {"prompts": settings.prompts, "max_new_tokens": settings.max_new_tokens}
        texts[PROMPTS] = json_text(prompts)
    if manifest.docker:
        texts[DOCKERFILE] = target.dockerfile(manifest)
    texts[README] = _readme(manifest, target)
    texts[SBOM] = json_text(build_sbom(manifest))
    return {path: text.encode() for path, text in texts.items()}


def binary_paths(manifest: Manifest) -> tuple[str, ...]:
    """Return the paths of the files of the model, and of the samples."""
    folder = model_folder(manifest)
    inputs = (SAMPLE_INPUTS,) if manifest.text is None else ()
    return (*(f"{folder}/{name}" for name in model_files(manifest)), *inputs, SAMPLE_OUTPUTS)


def model_folder(manifest: Manifest) -> str:
    """Return the folder of the model in a bundle."""
    target = find_target(manifest.target)
    return target.model_folder(manifest.package, text=manifest.text is not None)


def build_sbom(manifest: Manifest) -> dict[str, Any]:
    """Return the bill of materials in CycloneDX 1.5: the model and the Python packages."""
    model = manifest.variant
    root = f"{manifest.package}@{model.sha256[:12]}"
    serial = uuid.uuid5(uuid.NAMESPACE_URL, model.sha256 + manifest.created)
    packages = [_component(package) for package in manifest.packages]
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.5.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": f"urn:uuid:{serial}",
        "version": 1,
        "metadata": {
            "timestamp": manifest.created.replace("+00:00", "Z"),
            "tools": {
                "components": [
                    {"type": "application", "name": "ovtool", "version": manifest.ovtool}
                ]
            },
            "component": {
                "type": "application",
                "bom-ref": root,
                "name": manifest.package,
                "version": model.sha256[:12],
            },
        },
        "components": [
            {
                "type": "machine-learning-model",
                "bom-ref": "model",
                "name": model.name,
                "version": model.sha256[:12],
                "hashes": [{"alg": "SHA-256", "content": model.sha256}],
                "licenses": _licenses(manifest.licenses.model),
                "description": f"from {model.source}: {', '.join(model.steps) or 'uncompressed'}",
            },
            *packages,
        ],
        "dependencies": [{"ref": root, "dependsOn": ["model", *(p["bom-ref"] for p in packages)]}],
    }


def _component(package: Package) -> dict[str, Any]:
    url = f"pkg:pypi/{package.name.lower()}@{package.version}"
    return {
        "type": "library",
        "bom-ref": url,
        "name": package.name,
        "version": package.version,
        "scope": "required" if package.purpose == "model" else "optional",
        "purl": url,
        "licenses": _licenses(package.license),
    }


def _licenses(name: str) -> list[dict[str, Any]]:
    return [{"license": {"name": name}}] if name != "unknown" else []


def _readme(manifest: Manifest, target: Target) -> str:
    row, samples = manifest.row, manifest.samples
    figures = "\n".join(f"| {name} | {text} |" for name, text in _figures(manifest))
    properties = json.dumps(manifest.properties)
    return f"""# {manifest.package}

{manifest.variant.name} ({manifest.variant.source}) on {manifest.trial.device}.

{target.about(manifest)}
{_ports_text(manifest)}
## What was measured

{row.label}, on {row.machine}. Verdict: {row.verdict or "unknown"}. Properties: `{properties}`, \
{units.count_text(manifest.requests, "request")} at a time.{_preprocessing_text(manifest)}

| figure | measured |
| --- | --- |
{figures}

## Verify

`ovtool deploy --verify FOLDER` checks the hashes, runs the model on {samples_text(manifest)} \
({samples.data}), compares the outputs ({_tolerance_text(manifest)}), and measures the latency.

Licenses: model {manifest.licenses.model}, data {manifest.licenses.data}. `sbom.cdx.json` lists \
the packages.
"""


def _ports_text(manifest: Manifest) -> str:
    if manifest.text is not None:
        return ""
    ports = "\n".join(
        f"| {kind} `{port.name}` | {port.dtype} {list(port.shape)} |"
        for kind, several in (("input", manifest.inputs), ("output", manifest.outputs))
        for port in several
    )
    return f"""| port | type and shape |
| --- | --- |
{ports}

{_input_text(manifest)}

"""


def _preprocessing_text(manifest: Manifest) -> str:
    if manifest.image is None:
        return ""
    return " The figures are of the variant, before the preprocessing was built in."


def _tolerance_text(manifest: Manifest) -> str:
    if manifest.text is not None:
        return "greedy tokens, all equal"
    return f"largest difference {manifest.samples.tolerance:.3g} of the largest output"


def _input_text(manifest: Manifest) -> str:
    image = manifest.image
    if image is None:
        return "Inputs are arrays as the model was evaluated on."
    height, width = image.size
    how = "stretched" if image.resize == "stretch" else "cropped at the center and resized"
    return (
        f"The input is pixels from 0 to 255 of {image.mode} images of {height}x{width}: mean, scale"
        f" and channel order are in the graph. The model was evaluated on images that were {how}"
        f" (bicubic)."
    )


def _figures(manifest: Manifest) -> list[tuple[str, str]]:
    from ovtool.core.columns import COLUMNS
    from ovtool.results.labels import figure_text

    figures = manifest.row.figures
    names = [c.name for c in COLUMNS if c.unit in ("ms", "samples/s") or c.name in _QUALITY]
    return [
        (name, figure_text(figures, name))
        for name in names
        if isinstance(figures.get(name), float | int) and name not in _LEFT_OUT
    ]


_QUALITY = frozenset({
    "accuracy_top1", "agreement_top1", "output_cosine", "mean_average_precision", "mean_iou",
    "accuracy_characters", "mean_absolute_error", "custom_metric", "quality_samples", "model_mib",
})  # fmt: skip
_LEFT_OUT = frozenset({"latency_min_ms", "latency_max_ms", "limit_ms", "trial_compile_ms"})
