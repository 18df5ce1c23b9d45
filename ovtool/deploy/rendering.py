"""The text files of a bundle: each is a function of its manifest, so that it can be checked."""

from __future__ import annotations

import json
import uuid
from importlib.resources import files as package_files
from typing import TYPE_CHECKING, Any

from ovtool.core import units
from ovtool.core.ports import Port
from ovtool.datasets.samples import numpy_type

if TYPE_CHECKING:
    import numpy as np

    from ovtool.deploy.manifest import BundlePort, Manifest, Package

CODE = ("__init__.py", "__main__.py", "model.py")
IMAGE_CODE = "images.py"
SAMPLE_INPUTS, SAMPLE_OUTPUTS = "samples/inputs.npz", "samples/outputs.npz"
README, REQUIREMENTS, IMAGE_REQUIREMENTS, SBOM = (
    "README.md", "requirements.txt", "requirements-images.txt", "sbom.cdx.json",
)  # fmt: skip


def render_texts(manifest: Manifest) -> dict[str, bytes]:
    """Return the content of all text files of a bundle but its manifest, by path."""
    folder = manifest.package
    code = [*CODE, IMAGE_CODE] if manifest.image is not None else [*CODE]
    texts = {f"{folder}/{name}": _template(name) for name in code}
    texts[f"{folder}/config.json"] = _json(_config(manifest))
    if manifest.labels:
        texts[f"{folder}/labels.txt"] = "".join(f"{name}\n" for name in manifest.labels)
    texts[REQUIREMENTS] = _requirements(p for p in manifest.packages if not p.optional)
    if manifest.image is not None:
        texts[IMAGE_REQUIREMENTS] = f"-r {REQUIREMENTS}\n" + _requirements(
            p for p in manifest.packages if p.optional
        )
    texts[README] = _readme(manifest)
    texts[SBOM] = _json(build_sbom(manifest))
    return {path: text.encode() for path, text in texts.items()}


def binary_paths(manifest: Manifest) -> tuple[str, ...]:
    """Return the paths of the graph, its weights, and the samples."""
    folder = manifest.package
    return f"{folder}/model.xml", f"{folder}/model.bin", SAMPLE_INPUTS, SAMPLE_OUTPUTS


def _template(name: str) -> str:
    folder = package_files("ovtool.deploy.templates.python_app")
    return folder.joinpath(name).read_text(encoding="utf-8")


def _json(document: Any) -> str:
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


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


def _port(port: BundlePort) -> dict[str, Any]:
    return {"name": port.name, "shape": list(port.shape), "batch_axis": port.batch_axis}


def numpy_name(port: BundlePort) -> str:
    """Return the name of the NumPy type of a port.

    Raises:
        InputError: NumPy has no such type.
    """
    dtype: np.dtype[Any] = numpy_type(Port(name=port.name, shape=port.shape, dtype=port.dtype))
    return str(dtype.name)


def _requirements(packages: Any) -> str:
    return "".join(f"{p.name}=={p.version}\n" for p in packages if p.direct)


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
        "scope": "optional" if package.optional else "required",
        "purl": url,
        "licenses": _licenses(package.license),
    }


def _licenses(name: str) -> list[dict[str, Any]]:
    return [{"license": {"name": name}}] if name != "unknown" else []


def _readme(manifest: Manifest) -> str:
    row, samples = manifest.row, manifest.samples
    batch = units.count_text(manifest.trial.batch, "sample")
    ports = "\n".join(
        f"| {kind} `{port.name}` | {port.dtype} {list(port.shape)} |"
        for kind, several in (("input", manifest.inputs), ("output", manifest.outputs))
        for port in several
    )
    figures = "\n".join(f"| {name} | {text} |" for name, text in _figures(manifest))
    properties = json.dumps(manifest.properties)
    return f"""# {manifest.package}

{manifest.variant.name} ({manifest.variant.source}) on {manifest.trial.device}: a Python package \
that needs `openvino` and `numpy`{_pillow(manifest)}.

```
pip install -r requirements.txt
{_usage(manifest)}
```

```python
from {manifest.package} import Model

with Model() as model:
    outputs = model.infer(inputs)        # one request of {batch}
    future = model.submit(inputs)        # the same, asynchronously: future.result()
    for outputs in model.infer_samples(samples):  # any number of samples, in full batches
        ...
```

| port | type and shape |
| --- | --- |
{ports}

{_input_text(manifest)}

## What was measured

{row.label}, on {row.machine}. Verdict: {row.verdict or "unknown"}. Properties: `{properties}`, \
{units.count_text(manifest.requests, "request")} at a time. The figures are of the variant, before \
the preprocessing was built in.

| figure | measured |
| --- | --- |
{figures}

## Verify

`ovtool deploy --verify FOLDER` checks the hashes, runs the package on \
{units.count_text(samples.count, "stored sample")} ({samples.data}), compares the outputs (largest \
difference {samples.tolerance:.3g} of the largest output), and measures the latency.

Licenses: model {manifest.licenses.model}, data {manifest.licenses.data}. `sbom.cdx.json` lists \
the packages.
"""


def _pillow(manifest: Manifest) -> str:
    return " alone, and Pillow to read image files" if manifest.image is not None else " alone"


def _usage(manifest: Manifest) -> str:
    if manifest.image is None:
        return f"python -m {manifest.package} inputs.npz"
    return f"pip install -r {IMAGE_REQUIREMENTS}\npython -m {manifest.package} image.jpg"


def _input_text(manifest: Manifest) -> str:
    image = manifest.image
    if image is None:
        return "Inputs are arrays as the model was evaluated on."
    height, width = image.size
    how = "stretched" if image.resize == "stretch" else "cropped at the center and resized"
    return (
        f"The input is pixels from 0 to 255 of {image.mode} images of {height}x{width}: mean, scale"
        f" and channel order are in the graph. `images.read_image` reads files of any size,"
        f" {how} as the model was evaluated."
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
