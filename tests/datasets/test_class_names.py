"""Class names in a CSV of labels."""

import pytest
from PIL import Image

from ovtool.core.errors import InputError
from ovtool.core.ports import Port
from ovtool.core.ports import Preprocessing as Steps
from ovtool.datasets.registry import load_samples
from tests.helpers import graphs

PORT = Port(name="x", shape=(-1, 3, 4, 4), dtype="f32", layout="NCHW")
NAMED = {"a.png": "dog", "b.png": "cat", "c.png": "dog"}


@pytest.fixture
def table(tmp_path):
    """Three images with class names in a CSV beside the folder."""
    folder = tmp_path / "images"
    folder.mkdir()
    for name in NAMED:
        Image.new("RGB", (4, 4)).save(folder / name)
    rows = "".join(f"{name},{label}\n" for name, label in NAMED.items())
    path = tmp_path / "labels.csv"
    path.write_text(f"file,label\n{rows}")
    return path


def labels(table, graph=None):
    samples = load_samples(str(table.parent / "images"), [PORT], Steps(), labels=table, graph=graph)
    return [sample.label for sample in samples]


@pytest.mark.parametrize("place", ["classes.txt", "images/classes.txt"])
def test_a_file_of_classes_has_the_order_of_the_outputs(table, place):
    (table.parent / place).write_text("horse\ndog\nbird\ncat\n\n", encoding="utf-8-sig")
    assert labels(table) == [1, 3, 1]


def test_the_model_knows_its_classes(table):
    model = graphs.fully_connected()
    model.set_rt_info("bird cat dog", ["model_info", "labels"])
    assert labels(table, lambda: model) == [2, 1, 2]


def test_class_folders_count_in_sorted_order(table):
    for name in ("dog", "cat", "ant"):
        folder = table.parent / "images" / name
        folder.mkdir()
        Image.new("RGB", (4, 4)).save(folder / "1.png")
    table.write_text("file,label\ndog/1.png,dog\ncat/1.png,cat\nant/1.png,ant\n")
    assert labels(table) == [2, 1, 0]


def test_without_a_list_the_file_to_write_is_named(table):
    with pytest.raises(InputError, match="'dog'") as caught:
        labels(table, graphs.fully_connected)
    assert str(table.with_name("classes.txt")) in caught.value.hint


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"cat\nbird\n", "'dog'"),
        (b"cat\ndog\ncat\n", "'cat'"),
        (b"cat\n\ndog\n", "classes.txt"),
        (b"\xff\xfe\x00", "classes.txt"),
    ],
)
def test_a_list_that_does_not_fit_is_refused(table, content, named):
    (table.parent / "classes.txt").write_bytes(content)
    with pytest.raises(InputError, match=named):
        labels(table)


def test_a_similar_name_is_suggested(table):
    (table.parent / "classes.txt").write_text("cats\ndogs\n")
    with pytest.raises(InputError) as caught:
        labels(table)
    assert "dogs" in caught.value.hint
