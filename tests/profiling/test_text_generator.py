"""Layer times, operation counts and causes of a text generator that reads one prompt."""

import pytest

from ovtool import api
from ovtool.models.convert import convert
from tests.helpers.decoders import write_openvino_folder

PROMPT = dict.fromkeys(("input_ids", "attention_mask", "position_ids"), (1, 16))


@pytest.fixture(scope="module")
def generator(tmp_path_factory):
    folder = tmp_path_factory.mktemp("generator")
    return convert(write_openvino_folder(folder / "source"), out=folder / "decoder")


@pytest.mark.slow
def test_layers_of_the_prompt_are_timed(generator):
    profile = api.profile(generator, shapes=PROMPT, seconds=0.2)
    assert profile.layers_ms > 0
    assert "state-reset" in {note.id for note in profile.notes}


@pytest.mark.slow
def test_the_prompt_is_counted(generator):
    from ovtool.profiling.analyze import analyze

    shapes = PROMPT | {"beam_idx": (1,)}
    counted = analyze(generator, shapes=shapes)
    total = counted.analysis.total
    assert total.flops >= 2 * 16 * 8 * 40  # the last layer alone
