"""What client and hosts say to each other: JSON with a schema and a size limit.

A request is text, a reply is text, and :meth:`ovtool.fleet.host.Host.answer` is the only function
that a client can call.  No function, class or path of a client travels.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError, field_validator, model_validator

from ovtool.core.columns import METRIC_COLUMNS
from ovtool.core.errors import InputError
from ovtool.core.fields import Record, validation_message
from ovtool.core.input_limits import parse_json
from ovtool.datasets.registry import WITHOUT_FILES

MAX_BYTES = 32 << 20
"""Largest message."""
CHUNK_BYTES = 4 << 20
"""Bytes of a file in a message, which Base64 makes a third longer."""
MAX_DEPTH = 40
"""Levels of a message; measurements have fewer."""
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
_FOLDED = frozenset({"CON", "PRN", "AUX", "NUL"})


def require_safe_name(name: str) -> str:
    """Return a relative path of a file in the form that every system keeps inside a folder.

    Raises:
        ValueError: The path is absolute, leaves its folder, or has a reserved name.
    """
    parts = name.split("/")
    for part in parts:
        if (
            not part
            or part in (".", "..")
            or part[-1] in " ."
            or re.search(r'[\x00-\x1f\\:*?"<>|]', part)
        ):
            raise ValueError(f"not a path inside a folder: {name!r}")
        stem = part.partition(".")[0].upper()
        if stem in _FOLDED or re.fullmatch(r"(COM|LPT)\d", stem):
            raise ValueError(f"not a path inside a folder: {name!r}")
    if len(name.encode("utf-8", "surrogatepass")) > 1024:
        raise ValueError("path is longer than 1024 bytes")
    return name


class FileSet(Record):
    """Files of a folder: relative path to the SHA-256 of the content."""

    files: Annotated[dict[str, Sha256], Field(min_length=1, max_length=100_000)]

    @field_validator("files")
    @classmethod
    def _inside(cls, files: dict[str, str]) -> dict[str, str]:
        folded = {require_safe_name(name).casefold() for name in files}
        if len(folded) != len(files):
            raise ValueError("two paths differ in case only")
        folders = {name.rpartition("/")[0].casefold() for name in files} - {""}
        if folders & folded:
            raise ValueError("a path is a file and a folder")
        return files


class Describe(Record):
    """Asks for the machine, its software, its devices, its free disk and its clock."""

    op: Literal["describe"] = "describe"


class Stored(Record):
    """Asks how many bytes of files the cache of the host has."""

    op: Literal["stored"] = "stored"
    files: Annotated[tuple[Sha256, ...], Field(max_length=100_000)]


class Store(Record):
    """Adds bytes at ``offset`` to the file of a hash; the last bytes complete it."""

    op: Literal["store"] = "store"
    sha256: Sha256
    size: Annotated[int, Field(ge=0, le=1 << 50)]
    offset: Annotated[int, Field(ge=0, le=1 << 50)]
    content: str
    """Base64."""


class Data(Record):
    """The dataset of the requests and of the quality; paths are relative to its files."""

    source: Annotated[str, Field(min_length=1, max_length=1024)]
    """Path, or a dataset without files: ``noise:N``, ``sample:NAME``."""
    labels: str | None = None
    limit: Annotated[int, Field(ge=1)] | None = None
    part: Annotated[str, Field(max_length=64)] | None = None
    files: Sha256 | None = None
    """Hash of a file with a :class:`FileSet`; None: the dataset has no files."""
    metric: str | None = None
    outputs: tuple[str, ...] = ()
    baselines: dict[str, str | None]
    """Id of the uncompressed variant by the id of each variant."""

    @field_validator("metric")
    @classmethod
    def _known(cls, metric: str | None) -> str | None:
        if metric is not None and metric not in METRIC_COLUMNS:
            raise ValueError("a host imports no function")
        return metric

    @model_validator(mode="after")
    def _inside_files(self) -> Data:
        if self.files is not None:
            for path in filter(None, (self.source, self.labels)):
                require_safe_name(path)
        elif self.labels is not None or self.source.partition(":")[0] not in WITHOUT_FILES:
            raise ValueError("not a dataset without files")
        return self


class Measure(Record):
    """Measures a group of trials of variants whose files the cache has."""

    op: Literal["measure"] = "measure"
    environment: Annotated[str, Field(pattern=r"^[0-9a-f]{12}$")]
    """The environment that the client has planned for; another one is refused."""
    trials: Annotated[tuple[dict[str, Any], ...], Field(min_length=1, max_length=10_000)]
    variants: dict[str, FileSet]
    """Files of each variant of the trials and of their baselines, by its id."""
    data: Data | None = None
    """Dataset; None: random inputs."""
    evaluated: tuple[str, ...] = ()
    """Ids of the trials whose quality is known."""
    settings: dict[str, Any]
    timeout_s: Annotated[float, Field(gt=0, le=1e9)]
    """Limit of the whole group."""


class Stop(Record):
    """Ends the worker of the host after its connection."""

    op: Literal["stop"] = "stop"


AnyRequest = Describe | Stored | Store | Measure | Stop
Request = Annotated[AnyRequest, Field(discriminator="op")]


class HostState(Record):
    """The answer to :class:`Describe`."""

    environment: dict[str, Any]
    versions: dict[str, str]
    devices: tuple[dict[str, Any], ...]
    free_mib: float
    clock_s: float
    """Seconds since 1970, UTC."""
    health_fps: Annotated[float, Field(gt=0)] | None = None
    health_error: str = ""
    """Why the health trial failed; empty if it did not."""


class Reply(Record):
    """The answer to any request, or the error: its message and its hint."""

    ok: dict[str, Any] | None = None
    error: str = ""
    hint: str = ""
    failed: bool = False
    """Whether the process that measures failed, so that the trials of the request have failed."""
    schema_version: Literal[1] = 1


_REQUESTS: TypeAdapter[Any] = TypeAdapter(Request)


def dump(message: Record) -> str:
    """Return a message as text.

    Raises:
        InputError: It is too large.
    """
    text = message.model_dump_json()
    _check_size(text)
    return text


def parse_request(text: object) -> AnyRequest:
    """Return a request.

    Raises:
        InputError: The text is too large, is not JSON, or not of the schema.
    """
    request: AnyRequest = _parse(_REQUESTS, text, "request")
    return request


class MeasuringFailedError(InputError):
    """The process of a host that measures died, or exceeded its time limit."""


def parse_reply(text: object) -> dict[str, Any]:
    """Return the content of a reply.

    Raises:
        MeasuringFailedError: The process of the host that measures failed.
        InputError: The host refused the request, or the reply is not valid.
    """
    reply: Reply = _parse(_REPLIES, text, "reply")
    if reply.ok is None:
        kind = MeasuringFailedError if reply.failed else InputError
        raise kind(reply.error or "the host sent an empty reply", reply.hint)
    return reply.ok


_REPLIES: TypeAdapter[Any] = TypeAdapter(Reply)


def _parse(adapter: TypeAdapter[Any], text: object, what: str) -> Any:
    if not isinstance(text, str):
        raise InputError(f"{what} refused: not text")
    _check_size(text)
    try:
        content = parse_json(text)
        _check_depth(content)
        return adapter.validate_python(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "content"
        shown = validation_message(first)
        raise InputError(f"{what} refused: {place}: {shown[:200]}") from error
    except ValueError as error:
        raise InputError(f"{what} refused: not JSON: {str(error)[:200]}") from error


def _check_size(text: str) -> None:
    size = len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
    if size > MAX_BYTES:
        raise InputError(
            f"message refused: {size / (1 << 20):.1f} MiB, the limit is {MAX_BYTES >> 20} MiB"
        )


def _check_depth(content: Any) -> None:
    level, depth = [content], 0
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            raise ValueError(f"more than {MAX_DEPTH} levels deep")
        level = [
            child
            for node in level
            if isinstance(node, dict | list)
            for child in (node.values() if isinstance(node, dict) else node)
            if isinstance(child, dict | list)
        ]
