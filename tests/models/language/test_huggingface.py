import json
import shutil

import numpy as np
import pytest

from ovtool.core.errors import InputError
from ovtool.core.third_party import read_graph
from ovtool.models.convert import convert

pytestmark = pytest.mark.slow
PROMPTS = ["the quick brown", "a language model", "the lazy dog jumps over"]


def test_a_text_generator_becomes_a_folder_of_openvino_genai(llama):
    _, _, made = llama
    assert made.record.source.kind == "huggingface"
    assert {p.name for p in made.record.inputs} == {
        "input_ids", "attention_mask", "position_ids", "beam_idx"
    }  # fmt: skip
    (logits,) = made.record.check.differences
    assert logits.max_abs_difference < 1e-5 * logits.largest_value
    assert logits.compared > 10_000
    assert {
        "config.json", "generation_config.json", "openvino_config.json", "openvino_tokenizer.xml",
        "openvino_tokenizer.bin", "openvino_detokenizer.xml", "openvino_detokenizer.bin",
        "tokenizer.json", "tokenizer_config.json",
    } <= set(made.record.companions)  # fmt: skip
    assert not read_graph(made.xml).has_rt_info(["runtime_options", "INFERENCE_PRECISION_HINT"])
    assert len(read_graph(made.xml).get_variables()) == 4
    assert "tokenizer-differs" not in {note.id for note in made.record.notes}


def test_openvino_genai_chooses_the_tokens_of_transformers(llama):
    import openvino_genai
    import torch
    from transformers import AutoTokenizer

    model, folder, made = llama
    tokenizer = AutoTokenizer.from_pretrained(folder)
    pipeline = openvino_genai.LLMPipeline(str(made.folder), "CPU", INFERENCE_PRECISION_HINT="f32")
    settings = openvino_genai.GenerationConfig()
    settings.max_new_tokens, settings.ignore_eos, settings.do_sample = 24, True, False
    for prompt in PROMPTS:
        ids = tokenizer(prompt, return_tensors="pt")
        with torch.no_grad():
            expected = model.generate(
                **ids, max_new_tokens=24, min_new_tokens=24, do_sample=False, eos_token_id=None
            )[0, ids["input_ids"].shape[1] :]
        given = openvino_genai.TokenizedInputs(*map(_tensor, ids.values()))
        assert pipeline.generate(given, settings).tokens[0] == expected.tolist()


def _tensor(values):
    import openvino as ov

    return ov.Tensor(np.ascontiguousarray(values.numpy()))


def test_weights_that_do_not_fit_are_an_error(llama, tmp_path):
    from safetensors.numpy import load_file, save_file

    _, folder, _ = llama
    copy = shutil.copytree(folder, tmp_path / "cut")
    weights = load_file(copy / "model.safetensors")
    name = "model.layers.1.mlp.up_proj.weight"
    save_file({n: w for n, w in weights.items() if n != name}, copy / "model.safetensors")
    with pytest.raises(InputError, match=r"missing .*up_proj"):
        convert(copy, out=tmp_path / "v")
    (copy / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:5000])
    with pytest.raises(InputError, match="weights"):
        convert(copy, out=tmp_path / "v")
    assert not (tmp_path / "v").exists()


def test_a_damaged_tokenizer_is_an_error(llama, tmp_path):
    copy = shutil.copytree(llama[1], tmp_path / "cut")
    (copy / "tokenizer.json").write_text('{"version": "1.0", "model": {')
    with pytest.raises(InputError, match="tokenizer"):
        convert(copy, out=tmp_path / "v")


@pytest.mark.parametrize("length", [3, 100])
def test_a_gguf_file_cut_short_is_an_error(llm, tmp_path, length):
    (tmp_path / "x.gguf").write_bytes((b"GGUF" + b"\3\0\0\0" + b"\xff" * 200)[:length])
    with pytest.raises(InputError, match=r"x\.gguf"):
        convert(tmp_path / "x.gguf", out=tmp_path / "v")


@pytest.mark.parametrize("share", [0.04, 0.5, 0.95])
def test_a_gguf_file_without_its_end_is_an_error(llm, tmp_path, share):
    from tests.helpers.language_models import write_gguf

    path = tmp_path / "x.gguf"
    write_gguf(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(InputError, match=r"x\.gguf") as raised:
        convert(path, out=tmp_path / "v")
    assert "incomplete" in raised.value.hint
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "v").exists()


def test_an_architecture_that_does_not_export_is_an_error(llm, tmp_path, monkeypatch):
    from transformers import LlamaModel

    from tests.helpers.language_models import write_model

    def forward(self, input_ids, **_):
        raise NotImplementedError("the trace ends here\nwith a second line")

    write_model(tmp_path / "m", "llama", num_key_value_heads=2)
    monkeypatch.setattr(LlamaModel, "forward", forward)
    with pytest.raises(InputError, match=r"'llama' of .*m: the trace ends here") as raised:
        convert(tmp_path / "m", out=tmp_path / "v")
    assert "\n" not in str(raised.value)
    assert "openvino_model.xml" in raised.value.hint
    assert not (tmp_path / "v").exists()


ENCODERS = [
    ("bert", "AutoModel", {}),
    ("roberta", "AutoModelForSequenceClassification", {}),
    ("distilbert", "AutoModelForSequenceClassification",
     {"dim": 32, "hidden_dim": 64, "n_layers": 2, "n_heads": 4}),
    ("modernbert", "AutoModel", {}),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "automatic", "settings"), ENCODERS, ids=lambda v: str(v)[:20])
def test_an_encoder_is_a_variant_of_any_batch_and_length(llm, tmp_path, kind, automatic, settings):
    import openvino as ov
    import torch

    from tests.helpers.language_models import write_model

    model = write_model(tmp_path, kind, automatic, **settings)
    made = convert(tmp_path, out=tmp_path / "v")
    assert made.record.batch == "dynamic"
    assert [p.shape for p in made.record.inputs] == [(-1, -1)] * 2
    assert {d.status for d in made.record.check.differences} == {"checked"}
    assert "openvino_tokenizer.xml" in made.record.companions
    ids = torch.arange(3 * 11).reshape(3, 11) + 2
    mask = torch.ones_like(ids)
    mask[1, 6:] = 0
    with torch.no_grad():
        expected = model(input_ids=ids, attention_mask=mask)[0].numpy()
    exact = {"INFERENCE_PRECISION_HINT": "f32"}
    actual = ov.Core().compile_model(made.xml, "CPU", exact)((ids.numpy(), mask.numpy()))[0]
    if expected.ndim == 3:  # padding has no meaning
        expected, actual = expected[mask == 1], actual[mask.numpy() == 1]
    np.testing.assert_allclose(actual, expected, atol=1e-4)


def test_the_settings_name_the_type_of_the_weights(llama):
    settings = json.loads((llama[2].folder / "openvino_config.json").read_text())
    assert settings["dtype"] == "fp32"
    assert settings["quantization_config"] is None
