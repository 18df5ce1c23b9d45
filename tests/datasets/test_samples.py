import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovtool.core.errors import InputError
from ovtool.core.ports import Port
from ovtool.datasets.samples import (
    CachedSamples,
    Sample,
    batches,
    random_sample,
    sample_shape,
    stack,
    unstack,
)

ROWS = Port(name="x", shape=(-1, 2), dtype="f32", layout="NC")
COLUMNS = Port(name="y", shape=(2, -1), dtype="f32", layout="CN")


def samples(count):
    return [
        Sample({"x": np.array([i, -i]), "y": np.array([i, i])}, i, str(i)) for i in range(count)
    ]


@given(count=st.integers(0, 20), batch=st.integers(1, 7))
def test_batches_keep_order_and_count_only_real_samples(count, batch):
    made = list(batches(samples(count), [ROWS, COLUMNS], batch))
    assert sum(b.count for b in made) == count
    assert [label for b in made for label in b.labels] == list(range(count))
    assert all(b.inputs["x"].shape == (batch, 2) for b in made)
    assert all(b.inputs["y"].shape == (2, batch) for b in made)
    real = [row[0] for b in made for row in b.inputs["x"][: b.count]]
    assert real == list(range(count))


def test_the_last_batch_repeats_its_last_sample():
    *_, last = batches(samples(5), [ROWS], 4)
    assert (last.count, last.labels) == (1, (4,))
    assert last.inputs["x"].tolist() == [[4, -4]] * 4


def test_an_input_without_a_layout_is_stacked_along_its_first_dimension():
    port = Port(name="x", shape=(-1, 2), dtype="f32")
    assert next(batches(samples(2), [port], 2)).inputs["x"].shape == (2, 2)


def test_a_model_without_a_batch_dimension_takes_one_sample_as_it_is():
    port = Port(name="x", shape=(2,), dtype="f32", layout="C")
    assert next(batches(samples(2), [port], 1)).inputs["x"].shape == (2,)
    with pytest.raises(InputError, match="no batch dimension"):
        next(batches(samples(2), [port], 2))
    same = [next(iter(samples(1)))] * 2
    assert next(batches(same, [port], 2)).inputs["x"].shape == (2,)


@pytest.mark.parametrize(
    ("shape", "axis", "expected"),
    [
        ((3, 2), 0, [[0, 1], [2, 3], [4, 5]]),
        ((2, 3), 1, [[0, 3], [1, 4], [2, 5]]),
        ((6,), 0, [[0, 1], [2, 3], [4, 5]]),
        ((2,), None, [[0, 1]] * 3),
        ((0, 2), 0, [[], [], []]),
    ],
)
def test_outputs_are_split_along_their_batch_dimension(shape, axis, expected):
    output = np.arange(np.prod(shape)).reshape(shape)
    rows = unstack(output, axis, 3)
    assert len(rows) == 3
    assert rows.reshape(3, -1).tolist() == expected


@given(
    shape=st.lists(st.integers(1, 3), max_size=3),
    axis=st.integers(0, 3),
    batch=st.integers(1, 4),
)
def test_unstacking_is_the_inverse_of_stacking(shape, axis, batch):
    rows = np.random.default_rng(0).random((batch, *shape))
    axis = min(axis, len(shape))
    assert np.array_equal(unstack(stack("x", list(rows), axis), axis, batch), rows)


def test_a_state_keeps_its_layers_in_random_samples():
    state = Port(name="s", shape=(2, 1, 8), dtype="f32", layout="?N?")
    sample = random_sample([state], 0)
    assert sample.inputs["s"].shape == (2, 8)
    assert next(batches([sample], [state], 1)).inputs["s"].shape == (2, 1, 8)


@given(
    shape=st.lists(st.integers(1, 4), max_size=3),
    dtype=st.sampled_from(["f16", "f32", "f64", "i32", "i64", "u8", "boolean"]),
)
def test_random_samples_fit_their_port_and_repeat(shape, dtype):
    port = Port(name="x", shape=(-1, *shape), dtype=dtype)
    one, same = random_sample([port], 3, 1), random_sample([port], 3, 1)
    assert one.inputs["x"].shape == sample_shape(port) == tuple(shape)
    assert np.array_equal(one.inputs["x"], same.inputs["x"])


def test_random_samples_hide_nothing_and_keep_to_any_vocabulary():
    inputs = [Port(name=name, shape=(-1, 50), dtype="i64") for name in ("ids", "attention_mask")]
    made = random_sample(inputs, 0).inputs
    assert set(made["ids"]) == {0, 1}
    assert set(made["attention_mask"]) == {1}


@pytest.mark.parametrize("dtype", ["bf16", "string"])
def test_types_that_numpy_lacks_are_refused(dtype):
    with pytest.raises(InputError, match=dtype):
        random_sample([Port(name="x", shape=(-1, 2), dtype=dtype)], 0)


class Counting(list):
    """Samples that tell how often each was read."""

    reference, labelled, notes, read = "counted", False, (), 0

    def __iter__(self):
        for sample in super().__iter__():
            self.read += 1
            yield sample


@pytest.mark.parametrize(("most_bytes", "reads"), [(4 * 8, 4), (4 * 8 - 1, 12)])
def test_samples_are_remembered_where_all_of_them_fit(most_bytes, reads):
    source = Counting(Sample({"x": np.full(2, i, np.float32)}, i, "") for i in range(4))
    kept = CachedSamples(source, most_bytes)
    for _ in range(3):
        assert [s.label for s in kept] == [0, 1, 2, 3]
    assert source.read == reads
    assert (len(kept), kept.reference, kept.labelled) == (4, "counted", False)


def test_a_pass_that_ends_early_is_not_taken_for_all():
    kept = CachedSamples(Counting(Sample({"x": np.zeros(2)}, i, "") for i in range(4)))
    next(iter(kept))
    assert [s.label for s in kept] == [0, 1, 2, 3]
