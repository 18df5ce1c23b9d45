"""What compilers say of a model that they reject, in words, with what to do about it."""

from __future__ import annotations

import re

from ovtool.devices import plugin_errors as pluginerrors
from ovtool.devices.plugin_errors import Explained, Known

INSTALL = "ovtool devices --install-npu-compiler"
_REPLACE = "replace the operations named, or run them on another device (HETERO:NPU,CPU)"
_MORE = (
    Known(
        r"did not end within",
        "the compile took too long and was ended",
        "try a smaller model or batch",
    ),
    Known(
        r"the compiler died",
        "the compiler itself died",
        "report it to its makers with the model, or replace the operations named",
        operations=True,
    ),
    Known(
        r"[Uu]nsupported|not supported|[Uu]nknown operation|isn't supported",
        "the compiler does not support something in the model",
        _REPLACE,
        operations=True,
    ),
)
"""Beyond what every plugin says: too general for the failure of a trial."""
_OTHER = Explained("the compiler rejects the model", _REPLACE, operations=True)


def explain(said: str) -> Explained:
    """Return what an error means; the text may be several lines."""
    return pluginerrors.explain(said, _MORE) or _OTHER


def telling(said: str) -> str:
    """Return what was said without the places in its source code, in at most 300 characters."""
    noise = re.compile(r"^(Exception from src|Check '|While validating|\s*$)")
    parts = [part.strip() for part in re.split(r"\s*\|\s*|\n", said) if not noise.match(part)]
    text = re.sub(r"Exception from src\S+:\d+:\s*", "", " ".join(parts))
    return text if len(text) <= 300 else f"{text[:297]}..."
