"""Operations at fault are found by cutting real graphs; what compiles is scripted or the CPU."""

import numpy as np
import openvino as ov
import pytest

from ovtool.compile_check.compiling import Outcome
from ovtool.compile_check.suspects import MOST, _Graph, search
from tests.compile_check.graphs import branching, with_segments
from tests.helpers.graphs import attention


def kinds(part):
    return [op.get_type_name() for op in part.get_ordered_ops()]


def refusing(*types, seen=None):
    """A compiler that fails on types of operations, and says nothing of them."""

    def compile_part(part):
        part.validate_nodes_and_infer_types()
        if seen is not None:
            seen.append(part)
        bad = [kind for kind in kinds(part) if kind in types]
        return Outcome(not bad, "it is not supported" if bad else "")

    return compile_part


def answer(model):
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
def test_an_operation_anywhere_in_a_graph_is_named(kind, name):
    found = search(branching(), refusing(kind))
    (suspect,) = found.suspects
    assert (suspect.name, suspect.type, suspect.alone, suspect.alike) == (name, kind, True, 0)
    assert suspect.error == "it is not supported"
    assert found.rest_compiles
    assert not found.note


def test_several_are_named_in_their_order_and_the_rest_is_said_to_compile():
    found = search(branching(), refusing("Select", "Concat"))
    assert [s.name for s in found.suspects] == ["right", "joined"]
    assert found.rest_compiles


def test_others_of_a_type_are_counted_and_not_tried():
    found = search(with_segments(count=3), refusing("SegmentMax"))
    (suspect,) = found.suspects
    assert (suspect.name, suspect.alike) == ("largest.0", 2)
    assert found.rest_compiles


def test_it_takes_few_compiles():
    operations = len(_Graph(attention(fused=False)).operations)
    found = search(attention(fused=False), refusing("Softmax"))
    assert [s.type for s in found.suspects] == ["Softmax"]
    assert found.compiles <= np.ceil(np.log2(operations)) + 2


def test_two_that_only_fail_together_are_told_as_such():
    def compile_part(part):
        return Outcome(not {"Split", "Sigmoid"} <= set(kinds(part)), "together")

    found = search(branching(), compile_part)
    (suspect,) = found.suspects
    assert (suspect.name, suspect.alone, suspect.since) == ("split", False, "left")
    assert suspect.error == "together"
    assert found.rest_compiles


def test_the_search_ends_after_some_suspects():
    kinds_of = {op.get_type_name() for op in _Graph(attention(fused=False)).operations}
    found = search(attention(fused=False), refusing(*kinds_of))
    assert len(found.suspects) == MOST
    assert not found.rest_compiles
    assert "the search ended" in found.note


def test_a_graph_is_whole_again_afterwards_and_its_parts_run():
    model = branching()
    before = answer(model)
    parts = []
    with_each = _Graph(model)
    for operation in with_each.operations:
        with with_each.cut([operation]) as part:
            assert operation.get_type_name() in kinds(part)
            parts.append(ov.Core().compile_model(part, "CPU"))
    search(model, refusing("Add", "Split"))
    assert np.array_equal(answer(model), before)
    assert len(model.get_ordered_ops()) == len(branching().get_ordered_ops())
    assert len(parts) == len(with_each.operations)


def test_booleans_are_no_inputs_or_outputs_of_parts():
    seen = []
    search(branching(), refusing("Select", seen=seen))
    ports = {p.get_element_type().get_type_name() for m in seen for p in (*m.inputs, *m.outputs)}
    assert ports == {"f32", "u8"}


def test_weights_stay_with_the_operation_that_uses_them():
    graph = _Graph(with_segments())
    (product,) = (op for op in graph.operations if op.get_friendly_name() == "before")
    with graph.cut([product]) as part:
        assert "Constant" in kinds(part)
        assert len(part.inputs) == 1


def test_a_model_with_a_state_is_not_cut():
    from openvino import opset15 as op

    x = op.parameter([1, 2], ov.Type.f32)
    old = op.read_value(op.constant(np.zeros((1, 2), np.float32)), "memory")
    y = op.add(x, old)
    model = ov.Model([op.result(y)], [op.assign(y, "memory")], [x], "stateful")
    found = search(model, refusing("Add"))
    assert found.suspects == ()
    assert "keeps state" in found.note
