"""Bundles of language models: prompts in, text out, in openvino-genai alone."""

import json
import shutil
import subprocess

import numpy as np
import pytest

from ovtool import api
from ovtool.core.errors import InputError, LimitNotMetError
from ovtool.deploy.bundle_files import check_files
from ovtool.deploy.content import DEFAULT_PROMPTS, read_prompts
from ovtool.deploy.manifest import read_manifest
from ovtool.deploy.stored_samples import different_share, read_arrays, write_arrays
from ovtool.deploy.verification import verify_bundle
from tests.deploy.test_python_app import fresh_environment
from tests.helpers.bundles import read_document, seal, write_document

QUICK = {"rounds": 3, "round_s": 0.05, "max_seconds": 1.0, "starts": False}


@pytest.fixture(scope="module")
def text_sweep(llama, tmp_path_factory):
    """A sweep of a random llama of two layers."""
    folder = tmp_path_factory.mktemp("text") / "sweep"
    lengths = {"prompt_lengths": [8], "output_lengths": [6], "concurrency": [2]}
    return api.sweep([llama.variant], out=folder, **lengths, **QUICK).folder


@pytest.fixture(scope="module")
def text_bundle(text_sweep, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundle") / "bundle"
    return api.deploy(text_sweep, folder, name="words", latency=False)


@pytest.fixture
def copied(text_bundle, tmp_path):
    return shutil.copytree(text_bundle.folder, tmp_path / "copy")


@pytest.mark.slow
def test_the_bundle_generates_the_tokens_of_the_model(text_bundle, llama):
    """Independent of openvino: greedy search by transformers on the source."""
    import torch
    from transformers import AutoTokenizer

    manifest = read_manifest(text_bundle.folder)
    assert [r.name for r in text_bundle.verification.rungs][-3:] == [
        "properties", "program", "outputs",
    ]  # fmt: skip
    assert all(rung.reached for rung in text_bundle.verification.rungs)
    assert (manifest.text.prompts, manifest.requests) == (DEFAULT_PROMPTS, 2)
    tokenizer = AutoTokenizer.from_pretrained(llama.folder)
    stored = np.load(text_bundle.folder / "samples/outputs.npz")
    equal = []
    for index, prompt in enumerate(manifest.text.prompts):
        row = stored["tokens"][index] if "tokens" in stored else stored[f"tokens.{index}"]
        ids = tokenizer(prompt, return_tensors="pt").input_ids
        with torch.no_grad():
            made = llama.model.generate(ids, max_new_tokens=len(row), do_sample=False)
        equal.append(made[0, ids.shape[1] :].tolist()[:1] == row.tolist()[:1])
    assert sum(equal) >= 2  # near ties may part under other precisions


@pytest.mark.slow
def test_a_fresh_environment_has_the_requirements_alone(text_bundle, tmp_path):
    lines = (text_bundle.folder / "requirements.txt").read_text().splitlines()
    assert {line.partition("==")[0] for line in lines} == {
        "openvino", "openvino-genai", "openvino-tokenizers", "numpy",
    }  # fmt: skip
    sbom = json.loads((text_bundle.folder / "sbom.cdx.json").read_text())
    names = [c["name"] for c in sbom["components"] if c["type"] == "library"]
    python = fresh_environment(tmp_path / "venv", names)
    prompts = text_bundle.folder / "samples/prompts.json"
    command = [python, "-B", "-m", "words"]
    options = {"cwd": text_bundle.folder, "capture_output": True, "env": {}}
    subprocess.run([*command, prompts, "--out", tmp_path / "out.npz"], check=True, **options)
    made, stored = (
        read_arrays(path)
        for path in (tmp_path / "out.npz", text_bundle.folder / "samples/outputs.npz")
    )
    rows = stored["tokens"] if "tokens" in stored else list(stored.values())
    assert [made[f"tokens.{i}"].tolist() for i in range(3)] == [row.tolist() for row in rows]
    ran = subprocess.run([*command, "The sea", "--max-new-tokens", "5"], check=True, **options)
    assert ran.stdout.strip()


@pytest.mark.slow
def test_other_tokens_are_a_limit_that_is_not_met(copied):
    path = copied / "samples/outputs.npz"
    arrays = read_arrays(path)
    name = next(iter(arrays))
    changed = arrays[name].copy()
    changed.flat[-1] += 1
    write_arrays(path, arrays | {name: changed})
    seal(copied)
    with pytest.raises(LimitNotMetError):
        verify_bundle(copied, latency=False)


@pytest.mark.slow
def test_the_latency_is_that_of_a_request(text_bundle):
    settings = api.MeasurementSettings(**QUICK)
    verified = verify_bundle(text_bundle.folder, settings=settings)
    assert verified.rungs[-1].name == "latency"
    assert "ms" in verified.rungs[-1].evidence


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {"files": ["../x"]}, {"files": []}, {"prompts": []}, {"prompts": ["other"] * 3},
        {"max_new_tokens": 0}, {"files": "x"},
    ],
    ids=str,
)  # fmt: skip
def test_other_settings_are_refused(copied, changes):
    document = read_document(copied)
    write_document(copied, document | {"text": document["text"] | changes})
    with pytest.raises(InputError) as caught:
        check_files(copied)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.slow
def test_every_file_of_the_model_is_hashed(copied):
    names = sorted(path.name for path in (copied / "words/pipeline").iterdir())
    assert {"openvino_model.xml", "openvino_model.bin", "openvino_tokenizer.xml"} <= set(names)
    for name in names:
        path = copied / "words/pipeline" / name
        content = path.read_bytes()
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        with pytest.raises(InputError, match=name):
            check_files(copied)
        path.write_bytes(content)
    check_files(copied)


@pytest.mark.slow
def test_prompts_of_a_file(text_sweep, tmp_path):
    (tmp_path / "prompts.txt").write_text("the dog\n\nthe fox\n")
    bundle = api.deploy(text_sweep, tmp_path / "b", data=tmp_path / "prompts.txt", latency=False)
    assert read_manifest(bundle.folder).text.prompts == ("the dog", "the fox")


@pytest.mark.parametrize("content", [None, b"", b"\n \n", b"\xff\xfe\x00"])
def test_a_file_without_prompts(tmp_path, content):
    if content is not None:
        (tmp_path / "p.txt").write_bytes(content)
    with pytest.raises(InputError, match=r"p\.txt"):
        read_prompts(tmp_path / "p.txt")


@pytest.mark.parametrize(
    ("tokens", "expected", "share"),
    [
        ([[1, 2, 3]], [[1, 2, 3]], 0), ([[1, 2]], [[1, 2, 3, 4]], 0.5), ([[5, 6]], [[1, 6]], 0.5),
        ([[1], [2, 3]], [[1], [2, 9]], 1 / 3), ([[]], [[]], 0),
    ],
)  # fmt: skip
def test_the_share_of_different_tokens(tokens, expected, share):
    assert different_share(tokens, expected) == pytest.approx(share)
