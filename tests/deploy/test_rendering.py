"""The text files of a bundle: bill of materials, requirements, configuration."""

import gzip
import json
from importlib.metadata import version
from pathlib import Path

import jsonschema
import pytest
import referencing

from ovtool.core.ports import Port
from ovtool.deploy.manifest import read_manifest
from ovtool.deploy.python_program import numpy_name
from ovtool.deploy.rendering import build_sbom, render_texts

SCHEMAS = Path(__file__).parents[1] / "data" / "cyclonedx"


@pytest.fixture(scope="module")
def validator():
    """The published schema of CycloneDX 1.5."""
    documents = [json.loads(gzip.decompress(p.read_bytes())) for p in SCHEMAS.glob("*.gz")]
    registry = referencing.Registry().with_resources(
        (d["$id"], referencing.Resource.from_contents(d)) for d in documents
    )
    bom = next(d for d in documents if "bom-1.5" in d["$id"])
    return jsonschema.Draft7Validator(bom, registry=registry)


def test_the_bill_of_materials_is_valid(deployed, validator):
    document = json.loads((deployed.bundle / "sbom.cdx.json").read_text())
    assert list(validator.iter_errors(document)) == []
    names = {c["name"]: c for c in document["components"]}
    assert {"openvino", "numpy", "pillow", "openvino-telemetry"} <= set(names)
    assert names["numpy"]["version"] == version("numpy")
    assert names["pillow"]["scope"] == "optional"
    model = names["tiny net"]
    assert model["hashes"][0]["content"] == deployed.variant.record.sha256


def test_the_schema_refuses_what_is_wrong(deployed, validator):
    document = build_sbom(read_manifest(deployed.bundle))
    for wrong in ({"specVersion": 1.5}, {"serialNumber": "1"}, {"components": [{"name": "x"}]}):
        assert list(validator.iter_errors(document | wrong)) != []


def test_requirements_are_pinned_to_the_installed_versions(deployed):
    lines = (deployed.bundle / "requirements.txt").read_text().splitlines()
    assert lines == [f"openvino=={version('openvino')}", f"numpy=={version('numpy')}"]
    lines = (deployed.bundle / "requirements-images.txt").read_text().splitlines()
    assert lines == ["-r requirements.txt", f"pillow=={version('pillow')}"]


def test_texts_are_a_function_of_the_manifest(deployed):
    texts = render_texts(read_manifest(deployed.bundle))
    assert len(texts) == 10
    assert {p: (deployed.bundle / p).read_bytes() for p in texts} == texts


def test_names_of_types_are_those_of_numpy():
    named = {t: numpy_name(Port(name="x", shape=(1,), dtype=t)) for t in ("f32", "u8", "boolean")}
    assert named == {"f32": "float32", "u8": "uint8", "boolean": "bool"}
