import contextlib
import errno
import io
import zipfile
from pathlib import Path

import numpy as np
import openvino as ov
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openvino import opset13 as ops

from ovtool.core import input_limits
from ovtool.core.errors import InputError
from ovtool.core.ports import Port
from ovtool.datasets import arrays
from ovtool.datasets.registry import load_samples

X = Port(name="x", shape=(-1, 4), dtype="f32", layout="NC")
IDS = Port(name="ids", shape=(-1, -1), dtype="i64")


def saved(tmp_path, **arrays):
    np.savez(tmp_path / "d.npz", **arrays)
    return str(tmp_path / "d.npz")


def test_npz_rows_are_samples_with_labels(tmp_path):
    x = np.arange(12.0).reshape(3, 4)
    path = saved(tmp_path, x=x, ids=np.ones((3, 5), np.int32), label=np.array([2, 0, 1]))
    samples = load_samples(path, [X, IDS], None)
    rows = list(samples)
    assert samples.labelled
    assert [row.label for row in rows] == [2, 0, 1]
    assert rows[1].inputs["x"].tolist() == [4, 5, 6, 7]
    assert rows[1].inputs["x"].dtype == np.float32
    assert rows[1].inputs["ids"].dtype == np.int64
    assert rows[1].origin.endswith("d.npz row 1")


def test_npy_fills_the_only_input(tmp_path):
    np.save(tmp_path / "d.npy", np.ones((3, 4), np.float32))
    samples = load_samples(str(tmp_path / "d.npy"), [X], None)
    assert (len(samples), samples.labelled) == (3, False)
    with pytest.raises(InputError, match="2"):
        load_samples(str(tmp_path / "d.npy"), [X, IDS], None)


def test_first_dimension_is_the_sample_in_every_layout(tmp_path):
    port = Port(name="x", shape=(4, -1), dtype="f32", layout="CN")
    path = saved(tmp_path, x=np.arange(12.0).reshape(3, 4))
    assert next(iter(load_samples(path, [port], None))).inputs["x"].tolist() == [0, 1, 2, 3]


def test_rows_may_keep_the_batch_dimension_of_their_input(tmp_path):
    port = Port(name="s", shape=(2, 1, 4), dtype="f32", layout="?N?")
    rows = np.arange(24.0).reshape(3, 2, 4)
    for array in (rows, rows[:, :, None]):
        samples = list(load_samples(saved(tmp_path, s=array), [port], None))
        assert [sample.inputs["s"].tolist() for sample in samples] == rows.tolist()
    with pytest.raises(InputError, match="s has shape"):
        load_samples(saved(tmp_path, s=np.zeros((3, 2, 5, 4))), [port], None)


def test_unused_arrays_are_noted(tmp_path, progress):
    load_samples(saved(tmp_path, x=np.ones((3, 4)), extra=np.ones(3)), [X], None, progress=progress)
    assert any("extra" in note for note in progress.notes)


@pytest.mark.parametrize(
    ("arrays", "value"),
    [
        ({"X": np.ones((3, 4))}, "'x'"),
        ({"x": np.ones((3, 5))}, r"x .*\[3, 5\].*\[samples, 4\]"),
        ({"x": np.ones(4)}, r"x .*\[4\]"),
        ({"x": np.float64(1)}, r"x .*\[\]"),
        ({"x": np.ones((0, 4))}, r"d\.npz"),
        ({"x": np.ones((3, 4), complex)}, "x .*complex128"),
        ({"x": np.full((3, 4), "a")}, "x .*<U1"),
        ({"x": np.ones((3, 4)), "label": np.arange(2)}, "x 3, label 2"),
        ({"x": np.ones((3, 4)), "label": np.ones(3, complex)}, "label .*complex128"),
        ({"x": np.ones((3, 4)), "label": np.array([1, np.nan, 2])}, "label"),
        ({"x": np.ones((3, 4)), "label": np.int64(3)}, "label .*int64"),
        ({"x": np.ones((3, 4)), "label": np.array([0, -1, 2])}, "row 1 .*-1"),
    ],
)
def test_invalid_arrays_raise_with_the_value(tmp_path, arrays, value):
    with pytest.raises(InputError, match=value):
        load_samples(saved(tmp_path, **arrays), [X], None)


def test_floats_are_not_cast_to_integers(tmp_path):
    with pytest.raises(InputError, match=r"ids .*float64"):
        load_samples(saved(tmp_path, ids=np.ones((3, 2))), [IDS], None)


def test_nan_raises_with_array_and_row(tmp_path):
    x = np.ones((3, 4))
    x[2, 1] = np.nan
    samples = load_samples(saved(tmp_path, x=x), [X], None)
    with pytest.raises(InputError, match="x row 2"):
        list(samples)


def test_python_objects_raise(tmp_path):
    np.savez(tmp_path / "d.npz", x=np.array([None] * 1000, object))
    np.save(tmp_path / "d.npy", np.array([None] * 1000, object))
    for name in ("d.npz", "d.npy"):
        with pytest.raises(InputError, match=name.replace(".", r"\.")):
            load_samples(str(tmp_path / name), [X], None)


def test_wrong_suffix_raises_with_the_file(tmp_path):
    np.save(tmp_path / "d.npy", np.ones((3, 4)))
    (tmp_path / "d.npy").rename(tmp_path / "d.npz")
    with pytest.raises(InputError, match=r"d\.npz"):
        load_samples(str(tmp_path / "d.npz"), [X], None)
    (tmp_path / "e.npy").write_bytes((tmp_path / "d.npz").read_bytes()[:0])
    with pytest.raises(InputError, match=r"e\.npy"):
        load_samples(str(tmp_path / "e.npy"), [X], None)
    np.savez(tmp_path / "f.npz", x=np.ones((3, 4)))
    (tmp_path / "f.npz").rename(tmp_path / "f.npy")
    with pytest.raises(InputError, match=r"f\.npy"):
        load_samples(str(tmp_path / "f.npy"), [X], None)


@pytest.mark.slow
@given(
    name=st.sampled_from(["d.npz", "c.npz", "d.npy"]),
    cut=st.floats(0, 1),
    changes=st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), max_size=20),
)
@settings(max_examples=150)
def test_damaged_files_give_samples_or_one_clear_error(tmp_path_factory, name, cut, changes):
    folder = tmp_path_factory.mktemp("damaged")
    x, label = np.arange(40.0).reshape(10, 4), np.arange(10)
    np.savez(folder / "d.npz", x=x, label=label)
    np.savez_compressed(folder / "c.npz", x=x, label=label)
    np.save(folder / "d.npy", x)
    content = bytearray((folder / name).read_bytes())
    for place, value in changes:
        content[int(place * len(content))] = value
    (folder / name).write_bytes(bytes(content[: max(1, int(cut * len(content)))]))
    # Any other exception fails the test.
    with contextlib.suppress(InputError):
        list(load_samples(str(folder / name), [X], None))


def embedding(rows, sliced=False):
    """Return a graph that looks up ids [batch, 5], or only the first two of them."""
    ids = ops.parameter([-1, 5], np.int64)
    ids.output(0).set_names({"ids"})
    used = ids
    if sliced:
        used = ops.slice(ids, *(np.array([n]) for n in (0, 2, 1)), np.array([1]))
    table = np.ones((rows, 2), np.float32)
    return ov.Model([ops.gather(table, used, np.int64(0))], [ids])


@pytest.mark.parametrize(("value", "fits"), [(6, True), (7, False), (30_999, False), (-8, False)])
def test_index_beyond_the_embedding_table_raises_with_row_and_value(tmp_path, value, fits):
    ids = np.ones((4, 5), np.int64)
    ids[2, 3] = value
    path, port = saved(tmp_path, ids=ids), Port(name="ids", shape=(-1, 5), dtype="i64")
    if fits:
        assert len(load_samples(path, [port], None, graph=lambda: embedding(7))) == 4
        return
    with pytest.raises(InputError, match=rf"ids row 2 .* {value}.* 6$"):
        load_samples(path, [port], None, graph=lambda: embedding(7))
    assert len(load_samples(path, [port], None, graph=lambda: embedding(7, sliced=True))) == 4


@pytest.mark.parametrize("value", [1e300, -1e300])
def test_a_number_beyond_the_type_of_the_input_is_refused(tmp_path, value):
    x = np.ones((2, 4))
    x[1, 2] = value
    with pytest.raises(InputError, match="x row 1"):
        list(load_samples(saved(tmp_path, x=x), [X], None))
    x[1, 2] = np.inf
    assert np.isinf(list(load_samples(saved(tmp_path, x=x), [X], None))[1].inputs["x"]).any()


@pytest.mark.parametrize("name", ["d.npz", "d.npy"])
def test_an_error_of_the_system_is_not_called_damage(tmp_path, monkeypatch, name):
    (np.savez if name.endswith("z") else np.save)(tmp_path / name, np.ones((2, 4)))

    def deny(self, *_, **__):
        raise PermissionError(errno.EACCES, "Permission denied", str(self))

    monkeypatch.setattr(Path, "open", deny)
    with pytest.raises(InputError, match=f"{name}: permission denied"):
        load_samples(str(tmp_path / name), [X], None)


def header(shape):
    """Return an array of float32 that declares a shape and has no values."""
    stream = io.BytesIO()
    np.lib.format.write_array_header_2_0(
        stream, {"descr": "<f4", "fortran_order": False, "shape": shape}
    )
    return stream.getvalue()


@pytest.mark.parametrize("shape", [(2**40, 4), (2**62, 2**62), (10**30, 4)])
def test_a_header_that_declares_too_much_is_refused_before_reading(tmp_path, shape):
    path = tmp_path / "d.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", header(shape))
    with pytest.raises(InputError, match="GiB") as caught:
        load_samples(str(path), [X], None)
    assert str(path) in f"{caught.value}"
    assert "OVTOOL_MEMORY_LIMIT" in caught.value.hint
    (tmp_path / "d.npy").write_bytes(header(shape))
    with pytest.raises(InputError, match=r"d\.npy"):
        load_samples(str(tmp_path / "d.npy"), [X], None)


def test_an_archive_that_expands_beyond_the_limit_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "d.npz"
    np.savez_compressed(path, x=np.zeros((1 << 16, 4), np.float32), other=np.zeros(1 << 22))
    monkeypatch.setattr(input_limits, "largest_size", lambda: 2 << 20)
    assert len(load_samples(str(path), [X], None)) == 1 << 16  # unused arrays are not read
    monkeypatch.setattr(input_limits, "largest_size", lambda: 1 << 20)
    with pytest.raises(InputError, match="GiB"):
        load_samples(str(path), [X], None)


def test_a_long_header_is_damage_and_not_objects(tmp_path):
    header = b"(" * 60_000
    content = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
    path = tmp_path / "data.npy"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="max_header_size") as caught:
        np.load(path)
    assert str(arrays._read_error(path, caught.value)) == str(
        arrays._read_error(path, ValueError())
    )
