"""Image files for the tests."""

from PIL import Image

from ovtool.core.ports import Preprocessing

RAW = Preprocessing(size=(8, 8), resize="stretch")


def save(path, colour=(10, 20, 30), size=(8, 8), mode="RGB", **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, colour).save(path, **options)
    return path
