"""Values of options that several verbs share."""

import pytest

from ovtool.cli import options
from ovtool.core.errors import InputError


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (None, []),
        (["CPU,NPU"], ["CPU", "NPU"]),
        (["CPU NPU", "GPU"], ["CPU", "NPU", "GPU"]),
        (["CPU", "MULTI:CPU,GPU"], ["CPU", "MULTI:CPU,GPU"]),
    ],
)
def test_words_are_split_except_in_virtual_devices(texts, words):
    assert options.split_words(texts) == words


@pytest.mark.parametrize(("text", "value"), [("5%", 5), (" 0.5 % ", 0.5), ("0.05", 5)])
def test_a_share_is_a_percentage_or_a_fraction(text, value):
    assert options.parse_percent(text, "--noise") == pytest.approx(value)
    assert options.parse_share(text, "--noise") == pytest.approx(value / 100)


@pytest.mark.parametrize("text", ["5", "-1%", "inf%", "%"])
def test_any_other_percentage_is_refused(text):
    with pytest.raises(InputError, match="--noise"):
        options.parse_percent(text, "--noise")


def test_settings_join_pairs_and_options():
    settings = options.parse_settings(
        ["subset-size=8", "mode = a=b"], max_drop=0.1, time_limit_s=None
    )
    assert settings == {"subset_size": "8", "mode": "a=b", "max_drop": 0.1}


@pytest.mark.parametrize("pairs", [["mode"], ["=1"], ["max_drop=1"]])
def test_a_wrong_or_repeated_setting_is_refused(pairs):
    with pytest.raises(InputError, match="--set"):
        options.parse_settings(pairs, max_drop=0.1)


def test_preprocessing_is_unset_without_image_options():
    unset = dict.fromkeys(
        ("weights", "shape", "layout", "mean", "scale", "size", "tolerance", "resize")
    )
    default = options.build_source_options(**unset, channels="RGB", trust=False)
    assert default.preprocessing is None
    images = unset | {"mean": "1,2,3", "size": "8x9"}
    chosen = options.build_source_options(**images, channels="BGR", trust=False)
    assert chosen.preprocessing.mean == (1, 2, 3)
    assert chosen.preprocessing.size == (8, 9)
    assert chosen.preprocessing.channels == "BGR"
    assert chosen.preprocessing.resize is None
    cropped = options.build_source_options(
        **unset | {"resize": "crop"}, channels="RGB", trust=False
    )
    assert cropped.preprocessing.resize == "crop"
