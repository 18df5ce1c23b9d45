"""More readers: formats of other frameworks, files that need trust, states of searches."""

from __future__ import annotations

import base64
import contextlib
import warnings
import zlib
from typing import TYPE_CHECKING, Any

from ovtool.core.errors import OvtoolError
from tests.models.test_tensorflow import TFLITE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

STATE = {"spent_s": 1.5, "finished": False, "attempts": [{"sqnr_db": 30.25, "name": "a"}]}


def read_source(name: str) -> Callable[[Path], object]:
    """Return a function that reads a source model of a folder."""

    def read(folder: Path) -> object:
        from ovtool.models.options import SourceOptions
        from ovtool.models.registry import SOURCES, kind_of

        path = str(folder / name)
        return SOURCES.load(kind_of(path))(path, SourceOptions())

    return read


def refuse_source(name: str) -> Callable[[Path], object]:
    """Return a function that checks that a source model is refused without trust."""

    def read(folder: Path) -> None:
        with contextlib.suppress(OvtoolError):
            read_untrusted(folder)
            raise AssertionError("read without trust")

    read_untrusted = read_source(name)
    return read


def write_tflite(folder: Path) -> None:
    """Write a model of TensorFlow Lite."""
    (folder / "m.tflite").write_bytes(zlib.decompress(base64.b85decode(TFLITE)))


def write_paddle(folder: Path) -> None:
    """Write a Paddle program that feeds x, applies relu and fetches y (``framework.proto``)."""
    tensor = _proto((1, 5), (2, 1), (2, 3), (2, 8))  # f32 [1, 3, 8]
    variables = [
        (3, _proto((1, name), (2, _proto((1, 7), (3, _proto((1, tensor)))))))  # LOD_TENSOR
        for name in (b"x", b"y")
    ]
    variables += [
        (3, _proto((1, name), (2, _proto((1, kind))), (3, 1)))
        for name, kind in ((b"feed", 9), (b"fetch", 10))
    ]
    column = (4, _proto((1, b"col"), (2, 0), (3, 0)))
    operations = [
        (4, _proto((1, _slot(b"X", source)), (2, _slot(b"Out", result)), (3, kind), column))
        for kind, source, result in (
            (b"feed", b"feed", b"x"), (b"relu", b"x", b"y"), (b"fetch", b"y", b"fetch")
        )
    ]  # fmt: skip
    block = _proto((1, 0), (2, 2**64 - 1), *variables, *operations)
    (folder / "m.pdmodel").write_bytes(_proto((1, block), (4, _proto((1, 0)))))


def _slot(name: bytes, argument: bytes) -> bytes:
    return _proto((1, name), (2, argument))


def _proto(*fields: tuple[int, int | bytes]) -> bytes:
    """Encode a message of Protocol Buffers: varints and byte strings."""
    parts = []
    for number, value in fields:
        if isinstance(value, int):
            parts.append(_varint(number << 3) + _varint(value))
        else:
            parts.append(_varint(number << 3 | 2) + _varint(len(value)) + value)
    return b"".join(parts)


def _varint(value: int) -> bytes:
    content = bytearray()
    while value > 127:
        content.append(value & 127 | 128)
        value >>= 7
    return bytes((*content, value))


def write_torch(folder: Path) -> None:
    """Write an exported program, a pickled module and a TorchScript file."""
    import torch

    module = torch.nn.Sequential(torch.nn.Linear(4, 2), torch.nn.ReLU()).eval()
    torch.export.save(torch.export.export(module, (torch.ones(1, 4),)), folder / "m.pt2")
    torch.save(module, folder / "m.pt")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # torch.jit is deprecated, not gone
        torch.jit.trace(module, torch.ones(1, 4)).save(folder / "script.pt")


def write_state(folder: Path) -> None:
    """Write the state of a search."""
    from ovtool.compression.saved_state import save_state

    save_state(folder / "state.json", STATE)


def read_state(folder: Path) -> None:
    """A damaged state is read as none, never as another one."""
    from ovtool.compression.saved_state import load_state
    from ovtool.core.progress import SILENT

    assert load_state(folder / "state.json", SILENT) in (None, STATE)


def write_checkpoint(folder: Path) -> None:
    """Write the state of a training."""
    import torch

    torch.save(_checkpoint(), folder / "training.pt")


def read_checkpoint(folder: Path) -> None:
    """A damaged state is read as none, never as another one."""
    from ovtool.compression.saved_state import load_checkpoint
    from ovtool.core.progress import SILENT

    state = load_checkpoint(folder / "training.pt", SILENT)
    assert state is None or repr(state) == repr(_checkpoint())


def _checkpoint() -> dict[str, Any]:
    import torch

    weights = {"w": torch.arange(6.0).reshape(2, 3), "b": torch.ones(2)}
    return {"modules": {"m": weights}, "best": None, "done": [{"loss": 0.5}], "spent_s": 2.5}
