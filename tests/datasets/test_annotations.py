"""Boxes and masks, moved into the model's input as the image is."""

import json

import numpy as np
import pytest
from PIL import Image

from ovtool.core.errors import InputError
from ovtool.core.ports import Port, Preprocessing
from ovtool.datasets.fingerprint import fingerprint
from ovtool.datasets.registry import load_samples
from ovtool.datasets.samples import Boxes

INPUT = Port(name="x", shape=(-1, 3, 40, 40), dtype="f32", layout="NCHW")
STRETCH = Preprocessing(resize="stretch")
CROP = Preprocessing(resize="crop", crop_fraction=1)


@pytest.fixture
def folder(tmp_path):
    """An image 80 wide and 60 high whose rectangle (20, 10) to (60, 40) is white."""
    pixels = np.zeros((60, 80, 3), np.uint8)
    pixels[10:40, 20:60] = 255
    (tmp_path / "images").mkdir()
    Image.fromarray(pixels).save(tmp_path / "images" / "a.png")
    return tmp_path


def coco(folder, boxes, name="a.png"):
    annotations = [
        {"image_id": 7, "category_id": 3 + i, "bbox": box, "iscrowd": int(i == 1)}
        for i, box in enumerate(boxes)
    ]
    document = {"images": [{"id": 7, "file_name": name}], "annotations": annotations}
    path = folder / "labels.json"
    path.write_text(json.dumps(document))
    return path


def load(folder, labels, preprocessing):
    images = str(folder / "images")
    return load_samples(images, [INPUT], preprocessing, labels=labels)


@pytest.mark.parametrize("preprocessing", [STRETCH, CROP])
def test_boxes_follow_the_pixels(folder, preprocessing):
    (sample,) = load(folder, coco(folder, [[20, 10, 40, 30]]), preprocessing)
    bright = np.argwhere(sample.inputs["x"][0] > 127)
    top, left = bright.min(0)
    bottom, right = bright.max(0) + 1
    assert np.abs(sample.label.boxes[0] - [left, top, right, bottom]).max() <= 0.75
    assert sample.label.classes.tolist() == [3]


def test_boxes_are_clipped_and_left_out_with_the_crop(folder):
    # The crop keeps the columns 10 to 70 of 80, at 40 / 60 of the size.
    labels = coco(folder, [[0, 0, 30, 30], [75, 0, 5, 5], [10, 0, 60, 60]])
    (sample,) = load(folder, labels, CROP)
    expected = [[0, 0, 20 * 2 / 3, 20], [0, 0, 40, 40]]
    np.testing.assert_allclose(sample.label.boxes, expected, atol=1e-4)
    assert sample.label.classes.tolist() == [3, 5]
    assert sample.label.crowd.tolist() == [False, False]


UNRECORDED = Preprocessing(mean=(5.0,))


@pytest.mark.parametrize(
    ("preprocessing", "stretched", "warned"),
    [(None, True, True), (UNRECORDED, True, True), (STRETCH, True, False), (CROP, False, False)],
)
@pytest.mark.parametrize("kind", ["boxes", "masks"])
def test_located_labels_are_not_cropped_by_default(folder, preprocessing, stretched, warned, kind):
    labels = coco(folder, [[0, 0, 80, 60]])
    if kind == "masks":
        labels = folder / "masks"
        labels.mkdir()
        columns = np.broadcast_to(np.arange(80, dtype=np.uint8) // 4, (60, 80))
        Image.fromarray(columns).save(labels / "a.png")
    samples = load(folder, labels, preprocessing)
    (sample,) = samples
    if kind == "boxes":  # 60 of 80 columns are left of a crop, and fill the input
        np.testing.assert_allclose(sample.label.boxes, [[0, 0, 40, 40]])
    else:
        assert (sample.label.min() == 0) == stretched  # the first columns have class 0
    assert [n.id for n in samples.notes if "stretched" in n.id] == ["images-stretched"] * warned
    original = np.asarray(
        Image.open(folder / "images" / "a.png").convert("RGB").resize((40, 40), 3)
    )
    if preprocessing is None:
        (array,) = sample.inputs.values()
        np.testing.assert_array_equal(array.squeeze(), original.transpose(2, 0, 1))


def test_other_labels_keep_the_crop(folder):
    classes = folder / "labels.csv"
    classes.write_text("file,label\na.png,1\n")
    steps = (None, Preprocessing(resize="crop"), STRETCH)
    first, second, third = (next(iter(load(folder, classes, s))).inputs["x"] for s in steps)
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, third)


def test_an_image_without_annotations_has_no_boxes(folder):
    (sample,) = load(folder, coco(folder, []), STRETCH)
    assert isinstance(sample.label, Boxes)
    assert sample.label.boxes.shape == (0, 4)


@pytest.mark.parametrize("mode", ["L", "P"])
@pytest.mark.parametrize("preprocessing", [STRETCH, CROP])
def test_masks_follow_the_pixels(folder, preprocessing, mode):
    classes = np.zeros((60, 80), np.uint8)
    classes[10:40, 20:60] = 5
    (folder / "masks").mkdir()
    mask = Image.fromarray(classes)
    if mode == "P":
        mask.putpalette([value for i in range(256) for value in (255 - i, i, 9)])
    mask.save(folder / "masks" / "a.png")
    (sample,) = load(folder, folder / "masks", preprocessing)
    assert sample.label.shape == (40, 40)
    assert set(np.unique(sample.label)) == {0, 5}
    bright = sample.inputs["x"][0] > 127
    assert ((sample.label == 5) == bright).mean() > 0.95


def test_the_fingerprint_depends_on_every_label(folder):
    prints = {
        fingerprint(load(folder, coco(folder, boxes), STRETCH)).sha256
        for boxes in ([], [[0, 0, 9, 9]], [[0, 0, 9, 8]])
    }
    assert len(prints) == 3


@pytest.mark.parametrize(
    ("content", "value"),
    [
        ("{", "JSON"),
        ("[" * 100_000, "JSON"),
        (
            (
                '{"images": [{"id": 1, "file_name": "a.png"}], "annotations":'
                ' [{"image_id": 1, "bbox": [0, 0, 1, 1], "category_id": 1e999}]}'
            ),
            "JSON",
        ),
        ('{"images": []}', "annotations"),
        ('{"images": [], "annotations": []}', "no images"),
        ('{"images": [{"id": 1, "file_name": "b.png"}], "annotations": []}', r"b\.png"),
        ('{"images": [], "annotations": [{"image_id": 4}]}', "4"),
    ],
)
def test_damaged_coco_files_are_rejected(folder, content, value):
    path = folder / "labels.json"
    path.write_text(content)
    with pytest.raises(InputError, match=value):
        list(load(folder, path, STRETCH))


def test_masks_without_a_matching_name_or_with_colors_are_rejected(folder):
    masks = folder / "masks"
    masks.mkdir()
    with pytest.raises(InputError, match="masks"):
        load(folder, masks, STRETCH)
    Image.new("RGB", (80, 60)).save(masks / "a.png")
    with pytest.raises(InputError, match=r"RGB.*a\.png"):
        list(load(folder, masks, STRETCH))
