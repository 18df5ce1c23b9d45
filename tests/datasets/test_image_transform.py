"""Preprocessing of images, and files that are no images."""

import contextlib
import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ovtool.core.errors import InputError
from ovtool.core.ports import Port, Preprocessing
from ovtool.datasets.registry import load_samples
from tests.datasets.image_files import RAW, save


def one(folder, port, preprocessing=RAW, **options):
    return next(iter(load_samples(str(folder), [port], preprocessing, **options))).inputs[port.name]


@pytest.mark.parametrize(
    ("mode", "colour", "expected"),
    [
        ("RGB", (10, 20, 30), (10, 20, 30)),
        ("L", 40, (40, 40, 40)),
        ("RGBA", (10, 20, 30, 0), (10, 20, 30)),
        ("LA", (40, 0), (40, 40, 40)),
        ("1", 1, (255, 255, 255)),
        ("I;16", 257 * 50, (50, 50, 50)),
    ],
)
def test_every_mode_becomes_rgb_of_8_bits(tmp_path, image_port, mode, colour, expected):
    save(tmp_path / "a.png", colour, mode=mode)
    assert one(tmp_path, image_port)[:, 4, 4].tolist() == list(expected)


def test_a_palette_with_transparency_becomes_rgb(tmp_path, image_port):
    image = Image.new("RGB", (8, 8), (10, 20, 30)).quantize(4)
    image.save(tmp_path / "a.png", transparency=b"\x00\x80\xff")
    assert one(tmp_path, image_port)[:, 0, 0].tolist() == [10, 20, 30]


def test_32_bit_pixels_raise(tmp_path, image_port):
    save(tmp_path / "a.tiff", 0.5, mode="F")
    with pytest.raises(InputError, match=r"a\.tiff"):
        one(tmp_path, image_port)


def test_exif_orientation_is_honoured(tmp_path, image_port):
    pixels = np.zeros((8, 8, 3), np.uint8)
    pixels[:4] = 255  # the upper half is white
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    array = one(tmp_path, image_port)
    assert array[0, 0, 0] == 0
    assert array[0, 7, 7] == 255


def test_mean_scale_and_channel_order(tmp_path, image_port):
    save(tmp_path / "a.png", (10, 20, 30))
    steps = Preprocessing(size=(8, 8), channels="BGR", mean=(1, 2, 3), scale=(2,))
    assert one(tmp_path, image_port, steps)[:, 0, 0].tolist() == [14.5, 9.0, 3.5]


def test_nhwc_and_u8_get_raw_pixels_in_place(tmp_path):
    save(tmp_path / "a.png", (10, 20, 30))
    port = Port(name="x", shape=(1, 8, 8, 3), dtype="u8", layout="NHWC")
    array = one(tmp_path, port, Preprocessing(size=(8, 8), mean=(5,)))
    assert array.dtype == np.uint8
    assert array[3, 3].tolist() == [10, 20, 30]


def test_crop_takes_the_centre_and_stretch_takes_all(tmp_path, image_port):
    pixels = np.zeros((80, 160, 3), np.uint8)
    pixels[:, :30] = 255  # a white border at the left, outside the centre
    Image.fromarray(pixels).save(tmp_path / "a.png")
    cropped = one(tmp_path, image_port, Preprocessing(size=(8, 8), crop_fraction=1))
    stretched = one(tmp_path, image_port, RAW)
    assert cropped.max() == 0
    assert stretched[0, 4, 0] == 255


@pytest.mark.parametrize(("steps", "kept"), [
    (Preprocessing(size=(8, 8)), True),
    (None, True),
    (Preprocessing(size=(8, 8), resize="crop"), False),
    (Preprocessing(size=(8, 8), resize="stretch"), True),
])  # fmt: skip
def test_an_image_of_the_size_of_the_input_is_used_as_it_is(tmp_path, image_port, steps, kept):
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    array = one(tmp_path, image_port, steps)
    assert np.array_equal(array, pixels.transpose(2, 0, 1)) == kept


def test_crop_fraction_enlarges_the_centre(tmp_path, image_port):
    pixels = np.zeros((80, 80, 3), np.uint8)
    pixels[20:60, 20:60] = 255
    Image.fromarray(pixels).save(tmp_path / "a.png")
    half = one(tmp_path, image_port, Preprocessing(size=(8, 8), crop_fraction=0.5))
    whole = one(tmp_path, image_port, Preprocessing(size=(8, 8), crop_fraction=1))
    assert half[:, 1:-1, 1:-1].min() == 255
    assert whole.min() == 0


def test_default_preprocessing_uses_the_input_size_and_is_noted(tmp_path, image_port, progress):
    save(tmp_path / "a.png")
    samples = load_samples(str(tmp_path), [image_port], None, progress=progress)
    assert next(iter(samples)).inputs["x"][:, 4, 4].tolist() == [10, 20, 30]
    assert [note.id for note in samples.notes] == ["no-preprocessing"]
    assert any("8x8 RGB" in note for note in progress.notes)


@pytest.mark.parametrize(
    ("dtype", "steps", "scaled", "warned"),
    [
        ("f32", RAW, None, True),
        ("f32", RAW, lambda x, ops: ops.relu(x), True),
        ("f32", RAW, lambda x, ops: ops.divide(x, np.float32(255)), False),
        ("f32", RAW, lambda x, ops: ops.multiply(x, np.float32(1 / 255)), False),
        ("f32", RAW, lambda x, ops: ops.multiply(x, np.float32(2)), True),
        ("f32", RAW, lambda x, ops: ops.subtract(x, np.float32(127.5)), False),
        ("f32", Preprocessing(size=(8, 8), scale=(255,)), None, False),
        ("u8", RAW, None, False),
    ],
)
def test_untouched_pixels_of_a_float_model_are_a_warning(tmp_path, dtype, steps, scaled, warned):
    import openvino as ov

    save(tmp_path / "a.png")
    parameter = ov.opset13.parameter([1, 3, 8, 8], np.float32, name="x")
    parameter.output(0).set_names({"x"})
    graph = ov.Model([scaled(parameter, ov.opset13)], [parameter]) if scaled else None
    port = Port(name="x", shape=(-1, 3, 8, 8), dtype=dtype, layout="NCHW")
    samples = load_samples(str(tmp_path), [port], steps, graph=graph and (lambda: graph))
    assert [n.id for n in samples.notes] == (["no-preprocessing"] if warned else [])


def test_without_preprocessing_an_open_size_raises(tmp_path):
    save(tmp_path / "a.png")
    port = Port(name="x", shape=(-1, 3, -1, -1), dtype="f32", layout="NCHW")
    with pytest.raises(InputError, match=r"x .*-1, -1"):
        one(tmp_path, port, None)


@pytest.mark.parametrize(
    ("port", "steps", "value"),
    [
        (Port(name="x", shape=(-1, 1, 8, 8), dtype="f32", layout="NCHW"), RAW, "3 channels"),
        (Port(name="x", shape=(-1, 3, 9, 9), dtype="f32", layout="NCHW"), RAW, "8x8"),
        (Port(name="x", shape=(-1, 16), dtype="f32", layout="NC"), RAW, "x .*16"),
        (Port(name="x", shape=(-1, 3, 8, 8), dtype="i64", layout="NCHW"), RAW, "x .*i64"),
        (
            Port(name="x", shape=(-1, 3, 8, 8), dtype="f32", layout="NCHW"),
            Preprocessing(size=(8, 8), mean=(1, 2)),
            "2 .*mean",
        ),
        (
            Port(name="x", shape=(-1, 3, 8, 8), dtype="f32", layout="NCHW"),
            Preprocessing(size=(8, 8), scale=(0,)),
            "scale",
        ),
    ],
)
def test_images_that_do_not_fit_the_model_raise(tmp_path, port, steps, value):
    save(tmp_path / "a.png")
    with pytest.raises(InputError, match=value):
        load_samples(str(tmp_path), [port], steps)


def test_a_model_of_two_inputs_takes_no_images(tmp_path, image_port):
    save(tmp_path / "a.png")
    with pytest.raises(InputError, match="2"):
        load_samples(str(tmp_path), [image_port, image_port], RAW)


def test_a_decompression_bomb_names_the_file(tmp_path, image_port, monkeypatch):
    save(tmp_path / "big.png", size=(100, 100))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(InputError, match=r"big\.png"):
        one(tmp_path, image_port)


def test_an_empty_and_a_text_file_name_the_file(tmp_path, image_port):
    for content in (b"", b"not an image"):
        (tmp_path / "a.jpg").write_bytes(content)
        with pytest.raises(InputError, match=r"a\.jpg"):
            one(tmp_path, image_port)


@pytest.mark.parametrize(
    "content",
    [
        b"P6\n6x 5\n255\n" + bytes(100),  # Pillow raises ValueError
        b"\x89PNG\r\n\x1a\n\x00\x00\x00\x05IHDR" + bytes(20),  # and here
    ],
)
def test_a_damaged_image_names_the_file(tmp_path, image_port, content):
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.png"):
        one(tmp_path, image_port)


NOISE = Image.effect_noise((30, 20), 80).convert("RGB")


def encoded(kind):
    stream = io.BytesIO()
    (NOISE.quantize(16) if kind == "GIF" else NOISE).save(stream, kind)
    return stream.getvalue()


WHOLE = {kind: encoded(kind) for kind in ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM")}


@pytest.mark.slow
@given(
    kind=st.sampled_from(sorted(WHOLE)),
    cut=st.floats(0, 1),
    changes=st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), max_size=20),
)
@settings(max_examples=150)
def test_damaged_images_give_an_array_or_one_clear_error(tmp_path_factory, kind, cut, changes):
    content = bytearray(WHOLE[kind])
    for place, value in changes:
        content[int(place * len(content))] = value
    folder = tmp_path_factory.mktemp("damaged")
    (folder / "a.png").write_bytes(bytes(content[: max(1, int(cut * len(content)))]))
    port = Port(name="x", shape=(1, 3, 8, 8), dtype="f32", layout="NCHW")
    # Anything else that is raised fails the test.
    with contextlib.suppress(InputError):
        assert one(folder, port).shape == (3, 8, 8)
