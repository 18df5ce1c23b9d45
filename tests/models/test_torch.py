import sys

import pytest

from ovtool.core.errors import InputError, MissingDependencyError
from tests.models.source_models import make


def test_function_of_user_code_is_converted(nets, capfd):
    path = list(sys.path)
    record = make("nets:with_example", nets / "out").record
    assert (record.name, record.batch, record.source.kind) == ("with_example", "dynamic", "torch")
    [port] = record.inputs
    assert (port.name, port.shape, port.layout) == ("image", (-1, 3, 8, 8), "NCHW")
    assert record.check.against.startswith("torch 2.")
    assert record.check.max_abs_difference < 1e-5
    assert record.check.inputs.endswith("image 1x3x8x8; image 2x3x8x8; image 5x3x8x8")
    assert capfd.readouterr() == ("", "")
    assert sys.path == path


@pytest.mark.slow
def test_example_is_built_from_requested_shapes(nets):
    record = make("nets:net", nets / "out", input_shapes={"image": (-1, 3, -1, -1)}).record
    assert record.inputs[0].shape == (-1, 3, -1, -1)
    with pytest.raises(InputError, match="nets:net") as raised:
        make("nets:net", nets / "none")
    assert "--shape image=" in raised.value.hint
    with pytest.raises(InputError, match="'imgae'") as raised:
        make("nets:net", nets / "none", input_shapes={"imgae": (1, 3, 8, 8)})
    assert "image" in raised.value.hint
    options = {"input_dtypes": {"image": "q7"}, "input_shapes": {"image": (1, 3, 8, 8)}}
    with pytest.raises(InputError, match="q7"):
        make("nets:net", nets / "none", **options)


@pytest.mark.slow
def test_loop_over_a_length_is_traced_at_the_requested_shape(nets):
    record = make("nets:steps", nets / "out", input_shapes={"x": (-1, 9, 4)}).record
    assert record.inputs[0].shape == (-1, 9, 4)
    assert record.check.max_abs_difference < 1e-5


def test_inputs_by_name_and_outputs_by_name(nets):
    record = make("nets:two", nets / "out").record
    assert [(p.name, p.shape, p.dtype) for p in record.inputs] == [
        ("ids", (-1, 5), "i64"),
        ("scale", (-1, 5, 4), "f32"),
    ]
    assert [p.name for p in record.outputs] == ["one", "two"]
    assert record.check.max_abs_difference == 0


def test_variadic_inputs_and_nested_outputs(nets):
    record = make("nets:rest", nets / "out").record
    assert [p.name for p in record.inputs] == ["input_0", "input_1"]
    assert [p.name for p in record.outputs] == ["output_0", "output_1"]


def test_hard_coded_batch_stays_static(nets):
    record = make("nets:fixed", nets / "out").record
    assert record.batch == "static"
    assert record.inputs[0].shape == (1, 2, 3)


@pytest.mark.parametrize(
    ("reference", "value"),
    [
        ("nets:nets", "'nets'"),
        ("nets:constant", "'constant'"),
        ("no_such_nets:net", "'no_such_nets'"),
        ("nets:raises", "ValueError: boom and more"),
        ("nets:leaves", "SystemExit"),
        ("nets:number", "int"),
        ("nets:odd", "'image' .*str"),
        ("nets:broken", "nets:broken .* x 1x3: .*no such layer"),
        ("nets:unknown", "nets:unknown: .*zeta"),
    ],
)
def test_invalid_function_raises_one_line(nets, reference, value):
    with pytest.raises(InputError, match=value) as raised:
        make(reference, nets / "out")
    assert "\n" not in str(raised.value)
    assert not (nets / "out").exists()


def test_missing_package_of_user_code_is_named(nets):
    with pytest.raises(MissingDependencyError, match="a_package_that_is_not_there"):
        make("nets:needs", nets / "out")


@pytest.mark.slow
def test_compiled_module_is_the_module_that_it_wraps(nets):
    plain, optimized = (make(f"nets:{n}", nets / n) for n in ("with_example", "optimized"))
    assert optimized.id == plain.id
    assert optimized.record.source.sha256 == plain.record.source.sha256
