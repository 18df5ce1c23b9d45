"""The table of methods and the parsing of settings."""

import subprocess
import sys

import pytest

from ovtool.compression.registry import describe_method, list_methods, load_method, parse_settings
from ovtool.core.errors import InputError
from tests.compression.samples import compress


def test_parse_settings_lists_all_mistakes():
    with pytest.raises(InputError) as caught:
        parse_settings("int8", {"preset": "fast", "subsetsize": 3, "fast_bias_correction": "so"})
    message = str(caught.value)
    for part in (
        "preset",
        "'mixed'",
        "'fast'",
        "'subsetsize'",
        "subset_size",
        "fast_bias_correction",
    ):
        assert part in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("method", "settings", "message"),
    [
        ("int8", {"subset_size": 0}, "subset_size"),
        ("int8", {"ignored_patterns": "conv("}, r"ignored_patterns: .*'conv\("),
        ("fp16", {"mode": "x"}, "'mode'"),
        ("weights", {"mode": "int5"}, "mode: "),
        ("weights", {"ratio": 0}, "ratio"),
        ("weights", {"ratio": 1.5}, "ratio"),
        ("weights", {"mode": "int8_sym", "ratio": 0.5}, "mode int8_sym .* ratio"),
        ("weights", {"group_size": 64, "ratio": 1}, "group_size, ratio"),
        ("weights", {"mode": "int4_sym", "group_size": 0}, r"group_size .* \(not 0\)"),
        ("weights", {"mode": "nvfp4", "group_size": 32}, "mode nvfp4 .* 16"),
    ],
)
def test_parse_settings_rejects_wrong_settings(method, settings, message):
    with pytest.raises(InputError, match=message):
        parse_settings(method, settings)


def test_parse_settings_reads_text():
    parsed = parse_settings(
        "int8", {"subset_size": "16", "fast_bias_correction": "false", "ignored_names": "a, b"}
    )
    assert parsed.subset_size == 16
    assert parsed.fast_bias_correction is False
    assert parsed.ignored_names == ("a", "b")
    assert parse_settings("int8", {"ignored_patterns": "a{1,2}"}).ignored_patterns == ("a{1,2}",)


def test_unknown_method_is_refused(conv, tmp_path):
    with pytest.raises(InputError, match="'int9'") as caught:
        compress(conv, "int9", {}, None, out=tmp_path / "q", name="q")
    assert "int8" in caught.value.hint


@pytest.mark.parametrize(
    ("name", "named"),
    [
        ("int4", ["weights", "mode=int4_sym", "mode=int4_asym"]),
        ("INT4_SYM", ["weights", "mode=int4_sym"]),
        ("nf4", ["weights", "mode=nf4"]),
        ("fp4", ["weights", "mode=fp4"]),
        ("awq", ["weights", "awq=true"]),
        ("INT8", ["int8"]),
        ("weight_sharing", ["weight-sharing"]),
        ("wieghts", ["weights"]),
        ("int9", ["int8"]),
        ("pruning", ["prune-"]),
        ("distillation", ["train"]),
        ("bf16", ["--precision bf16"]),
    ],
)
def test_another_name_of_a_method_names_the_method(name, named):
    with pytest.raises(InputError) as caught:
        load_method(name)
    assert all(part in caught.value.hint for part in named)
    assert "known" not in caught.value.hint


@pytest.mark.parametrize("name", ["4bit", "zzz"])
def test_a_name_without_a_method_names_the_command_that_lists_all(name):
    with pytest.raises(InputError) as caught:
        load_method(name)
    assert "ovtool methods" in caught.value.hint


def test_every_setting_has_a_description_and_a_default():
    table = {info.name: info for info in list_methods()}
    assert {"fp16", "fp8", "int8", "train", "weights"} <= set(table)
    assert table["int8"].needs == {"calibration"}
    settings = {setting.name: setting for info in list_methods() for setting in info.settings}
    assert all(setting.description and setting.kind for setting in settings.values())
    assert settings["preset"].kind == "auto | performance | mixed"
    of_weights = {setting.name: setting for setting in table["weights"].settings}
    assert of_weights["ratio"].kind == "number or none"
    assert of_weights["subset_size"].default == 128


@pytest.mark.slow
def test_list_methods_imports_no_heavy_package():
    code = (
        "import sys; from ovtool.compression.registry import list_methods, parse_settings;"
        "list_methods();"
        "parse_settings('weights', {'mode': 'nf4'});"
        "print({'openvino', 'nncf', 'torch', 'pandas'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_methods_that_ruin_an_untrained_network_say_what_it_keeps():
    for name in ("ternary", "weight-sharing", "fp8", "weights"):
        described = describe_method(name)
        assert "300" in described.untrained
        assert described.to_json()["untrained"] == described.untrained
