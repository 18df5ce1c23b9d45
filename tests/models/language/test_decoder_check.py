import pytest

from ovtool.core.errors import InputError
from ovtool.models.language.decoder_check import check_decoder
from ovtool.models.options import SourceOptions
from tests.helpers.decoders import HEAD, VOCABULARY, ArrayDecoder, build_decoder


@pytest.fixture
def saved(tmp_path):
    import openvino as ov

    def save(model):
        ov.save_model(model, tmp_path / "openvino_model.xml", compress_to_fp16=False)
        return tmp_path / "openvino_model.xml"

    return save


def check(xml, source, **options):
    window = options.pop("window", None)
    return check_decoder(xml, source, "numpy", SourceOptions(**options), VOCABULARY, window)


def test_a_graph_that_equals_its_source_is_checked_in_all_steps(saved):
    record = check(saved(build_decoder()), ArrayDecoder()).check
    (difference,) = record.differences
    assert (difference.output, difference.status) == ("logits", "checked")
    assert difference.max_abs_difference < 1e-5 * difference.largest_value
    assert difference.compared == VOCABULARY * (12 + 3 * 2 + 3 * 2 + 2 + 24 + 3)
    assert "16 of 16" in record.inputs


@pytest.mark.slow
@pytest.mark.parametrize("wrong", ["positions", "cache", "beams", "mask"])
def test_a_source_that_differs_in_one_input_is_rejected(saved, wrong):
    with pytest.raises(InputError, match="logits"):
        check(saved(build_decoder()), ArrayDecoder(wrong))


@pytest.mark.slow
def test_other_weights_are_rejected_beyond_the_tolerance_only(saved):
    xml = saved(build_decoder(HEAD * 1.02))
    with pytest.raises(InputError, match="logits"):
        check(xml, ArrayDecoder())
    difference = check(xml, ArrayDecoder(), tolerance=0.05).check.differences[0]
    assert difference.max_abs_difference == pytest.approx(0.02 * difference.largest_value, rel=0.01)


def test_a_prompt_is_longer_than_the_sliding_window(saved):
    record = check(saved(build_decoder()), ArrayDecoder(), window=30).check
    assert "1 of 33" in record.inputs


def test_a_prompt_is_no_longer_than_the_positions(saved):
    source = ArrayDecoder()
    made = check_decoder(
        saved(build_decoder()), source, "numpy", SourceOptions(), VOCABULARY, 30, positions=20
    )
    assert "1 of 17" in made.check.inputs


def test_logits_of_one_value_are_no_evidence(saved):
    class Flat(ArrayDecoder):
        def step(self, *inputs):
            return super().step(*inputs) * 0

    checked = check(saved(build_decoder(HEAD * 0)), Flat())
    assert checked.check.differences[0].status == "constant"
    assert [note.id for note in checked.notes] == ["conversion-not-checked"]


def test_not_finite_logits_of_the_source_are_an_error(saved):
    class Broken(ArrayDecoder):
        def step(self, *inputs):
            return super().step(*inputs) * float("nan")

    with pytest.raises(InputError, match="NaN"):
        check(saved(build_decoder()), Broken())
