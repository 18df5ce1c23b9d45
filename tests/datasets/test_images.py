import pytest

from ovtool.core.errors import InputError
from ovtool.datasets.registry import load_samples
from tests.datasets.image_files import RAW, save


def read_labels(samples):
    return [sample.label for sample in samples]


def test_class_folders_are_numbered_by_sorted_names(tmp_path, image_port):
    for name in ("dog/b.png", "cat/a.png", "cat/deep/c.png", ".hidden/d.png"):
        save(tmp_path / name)
    samples = load_samples(str(tmp_path), [image_port], RAW)
    assert read_labels(samples) == [0, 0, 1]
    assert samples.labelled


def test_class_folders_with_numbers_are_the_class(tmp_path, image_port):
    for name in ("10/a.png", "2/b.png"):
        save(tmp_path / name)
    assert read_labels(load_samples(str(tmp_path), [image_port], RAW)) == [10, 2]


def test_class_folders_of_both_kinds_raise(tmp_path, image_port):
    for name in ("10/a.png", "cat/b.png"):
        save(tmp_path / name)
    with pytest.raises(InputError, match=r"10.*cat"):
        load_samples(str(tmp_path), [image_port], RAW)


def test_an_empty_class_folder_raises_since_numbers_hang_on_it(tmp_path, image_port):
    save(tmp_path / "cat" / "a.png")
    (tmp_path / "dog").mkdir()
    with pytest.raises(InputError, match="dog"):
        load_samples(str(tmp_path), [image_port], RAW)


def test_images_beside_class_folders_raise(tmp_path, image_port):
    save(tmp_path / "cat" / "a.png")
    save(tmp_path / "stray.png")
    with pytest.raises(InputError, match=r"stray\.png"):
        load_samples(str(tmp_path), [image_port], RAW)


def test_a_flat_folder_has_no_labels(tmp_path, image_port):
    save(tmp_path / "b.png")
    save(tmp_path / "a.PNG", format="PNG")
    samples = load_samples(str(tmp_path), [image_port], RAW)
    assert [s.origin.rpartition("/")[2].rpartition("\\")[2] for s in samples] == ["a.PNG", "b.png"]
    assert not samples.labelled


def test_a_folder_without_images_raises(tmp_path, image_port):
    (tmp_path / "readme.txt").write_text("no image")
    with pytest.raises(InputError, match=tmp_path.name):
        load_samples(str(tmp_path), [image_port], RAW)


def test_labels_from_csv(tmp_path, image_port, progress):
    for name in "abc":
        save(tmp_path / f"{name}.png")
    table = tmp_path / "labels.csv"
    table.write_text("file,label\nb.png, 7\na.png,0\n", encoding="utf-8-sig")
    samples = load_samples(str(tmp_path), [image_port], RAW, labels=table, progress=progress)
    assert read_labels(samples) == [7, 0]
    assert any("1 images" in note and "labels.csv" in note for note in progress.notes)


@pytest.mark.parametrize(
    ("content", "value"),
    [
        ("file,label\na.png,0\nnope.png,1\n", r"line 3: .*nope\.png"),
        ("file,label\na.png,cat\n", r"labels\.csv: .*'cat'"),
        ("file,label\na.png,1.5\n", "line 2: .*'1.5'"),
        ("file,label\na.png,cat\na.png,3\n", r"labels\.csv .*3, 'cat'"),
        ("file,label\na.png,-1\n", "line 2: .*'-1'"),
        ("file,label\na.png\n", "line 2: .*''"),
        ("name,class\na.png,0\n", "line 1: .*file.*label"),
        (f"file,label\na.png,{'9' * 5000}\n", "line 2: .*'9"),
        ("file,label\na.png,99999999999\n", "line 2: .*'9"),
        (f"file,label\n{'a' * 200_000},1\n", r"labels\.csv"),
        ("file,label\n", r"labels\.csv"),
        ("\n", "line 1: "),
    ],
)
def test_invalid_csv_raises_with_the_line(tmp_path, image_port, content, value):
    save(tmp_path / "a.png")
    table = tmp_path / "labels.csv"
    table.write_text(content)
    with pytest.raises(InputError, match=value):
        load_samples(str(tmp_path), [image_port], RAW, labels=table)


def test_a_binary_csv_raises(tmp_path, image_port):
    save(tmp_path / "a.png")
    table = tmp_path / "labels.csv"
    table.write_bytes(b"file,label\n\xff\xfe\x00,1\n")
    with pytest.raises(InputError, match=r"labels\.csv"):
        load_samples(str(tmp_path), [image_port], RAW, labels=table)


def test_limit_takes_the_same_subset_in_order(tmp_path, image_port):
    for index in range(20):
        save(tmp_path / f"{index:02}.png", (index, 0, 0))
    some = [s.origin for s in load_samples(str(tmp_path), [image_port], RAW, limit=5)]
    again = [s.origin for s in load_samples(str(tmp_path), [image_port], RAW, limit=5)]
    other = [s.origin for s in load_samples(str(tmp_path), [image_port], RAW, limit=5, seed=1)]
    assert some == again == sorted(some)
    assert len(set(some)) == 5
    assert some != other
