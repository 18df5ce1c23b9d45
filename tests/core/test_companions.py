import json

import pytest

from ovtool.core.companions import (
    check_names,
    copy_companions,
    hash_companions,
    read_cache_values,
    verify_companions,
)
from ovtool.core.errors import InputError


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "tokenizer.json").write_text("{}")
    (tmp_path / "model.xml").write_text("graph")
    (tmp_path / "more").mkdir()
    return tmp_path


def test_the_files_of_a_folder_have_hashes_without_the_graph(folder):
    hashes = hash_companions(folder, ("model.xml",))
    # printf '{}' | sha256sum
    assert hashes == {
        "tokenizer.json": "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    }
    verify_companions(folder, hashes)


@pytest.mark.parametrize("change", [lambda p: p.unlink(), lambda p: p.write_text("[]")])
def test_a_changed_file_is_named(folder, change):
    hashes = hash_companions(folder, ("model.xml",))
    change(folder / "tokenizer.json")
    with pytest.raises(InputError, match=r"tokenizer\.json"):
        verify_companions(folder, hashes)


def test_copies_are_those_that_are_named(folder, tmp_path):
    target = tmp_path / "copy"
    target.mkdir()
    copy_companions(folder, ["tokenizer.json"])(target)
    assert [p.name for p in target.iterdir()] == ["tokenizer.json"]
    with pytest.raises(InputError, match="absent"):
        copy_companions(folder, ["absent.json"])(target)


@pytest.mark.parametrize("name", ["../x", "a/b", "/etc/passwd", ".ovtool", "", "a\\b", "..", "a\n"])
def test_names_outside_of_the_folder_are_refused(name):
    with pytest.raises(ValueError, match="name"):
        check_names([name])


def test_names_of_tokenizers_are_accepted():
    check_names(["openvino_tokenizer.xml", "vocab.json", "tokenizer.model.v3", "special-1.json"])


@pytest.mark.parametrize(
    ("config", "values"),
    [
        # SmolLM2-135M: 30 layers, 3 heads of keys, 576 / 9 = 64 wide; a key and a value.
        ({"num_key_value_heads": 3}, 30 * 3 * 64 * 2),
        ({}, 30 * 9 * 64 * 2),
        ({"head_dim": 128}, 30 * 9 * 128 * 2),
        ({"layer_types": ["full_attention"] * 30, "sliding_window": None}, 30 * 9 * 64 * 2),
        ({"layer_types": ["full_attention", "sliding_attention"] * 15}, None),
        ({"sliding_window": 4096}, None),
        ({"kv_lora_rank": 512}, None),
        ({"num_hidden_layers": "30"}, None),
    ],
)
def test_values_of_the_cache_for_each_token(tmp_path, config, values):
    known = {"num_hidden_layers": 30, "num_attention_heads": 9, "hidden_size": 576}
    (tmp_path / "config.json").write_text(json.dumps(known | config))
    assert read_cache_values(tmp_path) == values


def test_without_a_config_the_cache_is_not_known(tmp_path):
    assert read_cache_values(tmp_path) is None
