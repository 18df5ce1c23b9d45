"""Pieces of the texts of bundles: templates, JSON, pinned requirements."""

from __future__ import annotations

import json
import string
from importlib.resources import files as package_files
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ovtool.deploy.manifest import Manifest, Purpose

REQUIREMENTS, DOCKERFILE = "requirements.txt", "Dockerfile"
_PLAIN = frozenset((string.ascii_letters + string.digits + " !#$%&()*+,-./:;<=>@[]^_{|}~").encode())


def template(folder: str, name: str) -> str:
    """Return the text of a template."""
    path = package_files("ovtool.deploy.templates").joinpath(folder, name)
    return path.read_text(encoding="utf-8")


def json_text(document: Any) -> str:
    """Return JSON as a bundle has it."""
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def requirements(manifest: Manifest, purpose: Purpose = "model") -> str:
    """Return the lines of the pinned packages that the code of a bundle imports."""
    return "".join(
        f"{p.name}=={p.version}\n" for p in manifest.packages if p.direct and p.purpose == purpose
    )


def quoted(text: str) -> str:
    r"""Return a literal in C++ and in the text format of protobuf; no text can end it.

    >>> print(quoted('a"b'))
    "a\042b"
    """
    return '"' + "".join(chr(b) if b in _PLAIN else f"\\{b:03o}" for b in text.encode()) + '"'


def python_image(manifest: Manifest) -> str:
    """Return the name of the Python image in which a bundle runs as it was measured."""
    return f"python:{'.'.join(manifest.requires.python.split('.')[:2])}-slim"


def health_check(port: int) -> str:
    """Return the health check of a server with the KServe protocol, which needs bash alone."""
    request = "printf 'GET /v2/health/ready HTTP/1.0\\\\r\\\\n\\\\r\\\\n' >&3"
    check = f"exec 3<>/dev/tcp/127.0.0.1/{port} && {request} && grep -q ' 200 ' <&3"
    return f'HEALTHCHECK --interval=30s --timeout=5s CMD ["bash", "-c", "{check}"]'
