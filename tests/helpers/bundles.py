"""A small classifier of images, measured and deployed, and ways to change its bundle."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from ovtool import api
from ovtool.core.checksum import add_checksum, verify_checksum
from ovtool.core.ports import Preprocessing
from ovtool.deploy.manifest import MANIFEST, Manifest, format_manifest, read_manifest
from ovtool.deploy.rendering import binary_paths, render_texts
from ovtool.deploy.targets import TARGETS
from tests.helpers import graphs
from tests.helpers.in_process import use_local_workers

if TYPE_CHECKING:
    from pathlib import Path

    from ovtool.core.variant import Variant
    from ovtool.deploy.deploy import Bundle

STEPS = Preprocessing(
    channels="BGR", mean=(123.675, 116.28, 103.53), scale=(58.395, 57.12, 57.375), resize="crop"
)
QUICK = {"rounds": 3, "round_s": 0.02, "max_seconds": 0.1}
CLASSES = tuple("abcdefghij")
"""Folders of images: as many as the outputs of the network."""


@dataclass(frozen=True)
class Deployed:
    """A sweep of a variant on images, and the bundle of its row with batch 2."""

    variant: Variant
    sweep: Path
    images: Path
    bundle: Path
    result: Bundle


def write_images(folder: Path) -> Path:
    """Write an image of another size into the folder of each class."""
    rng = np.random.default_rng(3)
    for index, name in enumerate(CLASSES):
        coarse = rng.integers(0, 256, (5, 7, 3), np.uint8)
        path = folder / name / "picture.png"
        path.parent.mkdir(parents=True)
        Image.fromarray(coarse).resize((40 + 3 * index, 30 + index)).save(path)
    return folder


def deploy_images(folder: Path) -> Deployed:
    """Measure and deploy, with workers in this process; the bundle runs in a process."""
    with pytest.MonkeyPatch.context() as patch:
        use_local_workers(patch)
        images = write_images(folder / "images")
        variant = graphs.save(folder / "tiny net", graphs.convolutional(), preprocessing=STEPS)
        swept = api.sweep(
            [variant], out=folder / "sweep", data=images, batches=[2], hints=["latency"], **QUICK
        )
        result = api.deploy(swept.folder, folder / "bundle", batch=2, data=images, latency=False)
    return Deployed(variant, swept.folder, images, folder / "bundle", result)


def read_document(bundle: Path) -> dict:
    """Return the manifest as a JSON object, without its checksum."""
    content = (bundle / MANIFEST).read_bytes()
    return json.loads(verify_checksum(content, MANIFEST))


def write_document(bundle: Path, document: object) -> None:
    """Write a manifest with a checksum that fits, whatever it says."""
    (bundle / MANIFEST).write_bytes(add_checksum(json.dumps(document)))


def seal(bundle: Path, **changes: object) -> None:
    """Write a bundle as a forger would: other fields, with texts and hashes that fit them."""
    document = read_document(bundle) | changes
    manifest = Manifest.model_validate_json(json.dumps(document | {"files": {}}))
    for path, content in render_texts(manifest).items():
        (bundle / path).write_bytes(content)
    hashes = {
        path: {
            "sha256": hashlib.sha256((bundle / path).read_bytes()).hexdigest(),
            "bytes": (bundle / path).stat().st_size,
        }
        for path in document["files"]
    }
    complete = Manifest.model_validate_json(json.dumps(document | {"files": hashes}))
    (bundle / MANIFEST).write_bytes(format_manifest(complete))


def retarget(bundle: Path, folder: Path, target: str) -> Path:
    """Write the bundle of another target from a Python bundle, without running it."""
    manifest = read_manifest(bundle).model_copy(update={"target": target, "files": {}})
    kind = TARGETS[target]
    model = folder / kind.model_folder(manifest.package, text=False)
    model.mkdir(parents=True)
    shutil.copytree(bundle / "samples", folder / "samples")
    for name in ("model.xml", "model.bin"):
        shutil.copyfile(bundle / manifest.package / name, model / name)
    texts = render_texts(manifest)
    for path, content in texts.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    document = json.loads(manifest.model_dump_json())
    document["files"] = dict.fromkeys((*texts, *binary_paths(manifest)))
    write_document(folder, document)
    seal(folder)
    return folder
