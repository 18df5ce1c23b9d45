"""Operations at fault, identified by cutting real graphs; the compiler is scripted or the CPU."""

import numpy as np
import openvino as ov
import pytest

from ovtool.compile_check.compiling import Outcome
from ovtool.compile_check.suspects import MAX_SUSPECTS, _Graph, search
from tests.compile_check.graphs import branching, with_segments
from tests.helpers.graphs import attention


def kinds(part):
    return [op.get_type_name() for op in part.get_ordered_ops()]


def rejecting(*types, seen=None):
    """A compiler that fails on operation types without naming them."""

    def compile_part(part):
        part.validate_nodes_and_infer_types()
        if seen is not None:
            seen.append(part)
        bad = [kind for kind in kinds(part) if kind in types]
        return Outcome("rejected", "it is not supported") if bad else Outcome()

    return compile_part


def infer(model):
    x = np.linspace(-2, 2, 8, dtype=np.float32)[None]
    return ov.Core().compile_model(model, "CPU")(x)[0]


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("Sigmoid", "left"),
        ("Greater", "positive"),
        ("Select", "right"),
        ("Split", "split"),
        ("Concat", "joined"),
        ("Add", "sum"),
    ],
)
def test_operation_anywhere_in_a_graph_is_identified(kind, name):
    result = search(branching(), rejecting(kind))
    (suspect,) = result.suspects
    assert (suspect.name, suspect.type, suspect.fails_alone, suspect.untested_same_type) == (
        name,
        kind,
        True,
        0,
    )
    assert suspect.error == "it is not supported"
    assert result.rest_compiles
    assert not result.note


def test_several_suspects_are_in_order_and_the_rest_compiles():
    result = search(branching(), rejecting("Select", "Concat"))
    assert [s.name for s in result.suspects] == ["right", "joined"]
    assert result.rest_compiles


def test_other_operations_of_a_failing_type_are_counted_and_not_compiled_alone():
    result = search(with_segments(count=3), rejecting("SegmentMax"))
    (suspect,) = result.suspects
    assert (suspect.name, suspect.untested_same_type) == ("largest.0", 2)
    assert result.rest_compiles


def test_search_is_a_bisection():
    operations = len(_Graph(attention(fused=False)).operations)
    result = search(attention(fused=False), rejecting("Softmax"))
    assert [s.type for s in result.suspects] == ["Softmax"]
    assert result.compiles <= np.ceil(np.log2(operations)) + 2


def test_operations_that_fail_together_only():
    def compile_part(part):
        bad = {"Split", "Sigmoid"} <= set(kinds(part))
        return Outcome("rejected", "together") if bad else Outcome()

    result = search(branching(), compile_part)
    (suspect,) = result.suspects
    assert (suspect.name, suspect.fails_alone, suspect.fails_from) == ("split", False, "left")
    assert suspect.error == "together"
    assert result.rest_compiles


@pytest.mark.parametrize("chance", range(1, 12))
def test_failure_by_chance_is_no_suspect(chance):
    """One compile of the search fails although the part is fine."""
    compiles = []
    reject = rejecting("SegmentMax")

    def compile_part(part):
        compiles.append(part)
        by_chance = len(compiles) == chance
        return Outcome("died", "no memory") if by_chance else reject(part)

    result = search(with_segments(count=2), compile_part)
    assert [(s.name, s.fails_alone) for s in result.suspects] == [("largest.0", True)]
    assert result.rest_compiles


def test_search_stops_after_max_suspects():
    kinds_of = {op.get_type_name() for op in _Graph(attention(fused=False)).operations}
    result = search(attention(fused=False), rejecting(*kinds_of))
    assert len(result.suspects) == MAX_SUSPECTS
    assert not result.rest_compiles
    assert str(MAX_SUSPECTS) in result.note


@pytest.mark.slow
def test_graph_is_restored_and_its_parts_compile():
    model = branching()
    before = infer(model)
    parts = []
    with_each = _Graph(model)
    for operation in with_each.operations:
        with with_each.cut([operation]) as part:
            assert operation.get_type_name() in kinds(part)
            parts.append(ov.Core().compile_model(part, "CPU"))
    search(model, rejecting("Add", "Split"))
    assert np.array_equal(infer(model), before)
    assert len(model.get_ordered_ops()) == len(branching().get_ordered_ops())
    assert len(parts) == len(with_each.operations)


def test_parts_have_no_boolean_inputs_or_outputs():
    seen = []
    search(branching(), rejecting("Select", seen=seen))
    ports = {p.get_element_type().get_type_name() for m in seen for p in (*m.inputs, *m.outputs)}
    assert ports == {"f32", "u8"}


def test_weights_stay_with_their_operation():
    graph = _Graph(with_segments())
    (product,) = (op for op in graph.operations if op.get_friendly_name() == "before")
    with graph.cut([product]) as part:
        assert "Constant" in kinds(part)
        assert len(part.inputs) == 1


def test_stateful_model_is_not_searched():
    from openvino import opset15 as op

    x = op.parameter([1, 2], ov.Type.f32)
    old = op.read_value(op.constant(np.zeros((1, 2), np.float32)), "memory")
    y = op.add(x, old)
    model = ov.Model([op.result(y)], [op.assign(y, "memory")], [x], "stateful")
    result = search(model, rejecting("Add"))
    assert (result.suspects, result.compiles) == ((), 0)
    assert result.note
