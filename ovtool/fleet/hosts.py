"""The hosts of a fleet: ``HOSTS.yaml``, labels, and the filter of labels."""

from __future__ import annotations

from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError

from ovtool.core.errors import InputError
from ovtool.core.fields import UserInput
from ovtool.core.yaml_file import Mistake, MistakesError, line_of, load_tree, mistake, plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
"""Names of hosts, which are also names of folders."""
_LABEL = r"^[A-Za-z][A-Za-z0-9_.-]*$"
_VALUE = r"^[A-Za-z0-9][A-Za-z0-9_.+-]*$"
DEFAULT_PORT = 8786


def _not_reserved(name: str) -> str:
    """Refuse names that are no folder names on every system."""
    stem = name.partition(".")[0].upper()
    devices = {
        "CON",
        "PRN",
        "AUX",
        "NUL",
        *(f"{d}{n}" for d in ("COM", "LPT") for n in "123456789"),
    }
    if name.endswith(".") or stem in devices:
        raise ValueError(f"{name!r} cannot be the name of a folder")
    return name


def _argument(text: str) -> str:
    """Refuse text that a program would read as an option."""
    if text.startswith("-"):
        raise ValueError(f"{text!r} starts with a dash")
    return text


HostName = Annotated[str, Field(pattern=NAME, max_length=64), AfterValidator(_not_reserved)]
LabelName = Annotated[str, Field(pattern=_LABEL, max_length=64)]
LabelValue = Annotated[
    str,
    BeforeValidator(lambda v: str(v) if type(v) in (int, float) else v),
    Field(pattern=_VALUE, max_length=64),
]
Argument = Annotated[str, Field(min_length=1, max_length=4096), AfterValidator(_argument)]


def _shared(text: str) -> str:
    """Refuse a path that depends on the folder of a process."""
    if (
        "://" not in text
        and not PurePosixPath(text).is_absolute()
        and not (PureWindowsPath(text).is_absolute())
    ):
        raise ValueError(f"{text!r} is neither a URL nor an absolute path")
    return text


SharedUrl = Annotated[Argument, AfterValidator(_shared)]


class HostEntry(UserInput):
    """A host, as written: how to start its worker, and its labels.

    Paths are those of the host; without ``ssh`` the worker is a process of this machine.
    """

    ssh: Argument | None = None
    """Destination of ``ssh``: ``user@mini-pc`` or a name of its configuration."""
    ssh_options: tuple[str, ...] = ()
    python: Argument = "python3"
    """Python of the host that has ovtool; this machine's own without ``ssh``."""
    cache: Argument | None = None
    certificates: Argument | None = None
    shared: SharedUrl | None = None
    """``shared`` of the file, as this host sees it."""
    labels: dict[LabelName, LabelValue] = Field(default_factory=dict)


class FleetTarget(UserInput):
    """The fleet that a recipe measures on, as written: an address alone, or with a filter."""

    address: Argument
    """Address of the scheduler, or ``HOSTS.yaml``."""
    hosts: dict[LabelName, LabelValue] = Field(default_factory=dict)
    """Labels and values that a host needs."""
    certificates: Argument | None = None


class FleetFile(UserInput):
    """``HOSTS.yaml``: the scheduler, the certificates, and the hosts by name."""

    fleet: Literal[1]
    listen: Argument = f"127.0.0.1:{DEFAULT_PORT}"
    """Address and port of the scheduler, as the hosts reach it."""
    certificates: Argument | None = None
    """Folder of ``ovtool fleet certs``, relative to the file; needed except for 127.0.0.1."""
    shared: SharedUrl | None = None
    """Folder or object store (a URL of fsspec) that this machine and the hosts see: models and
    datasets are put there once, instead of being sent to each host."""
    hosts: dict[HostName, HostEntry]
    """Hosts that ``up`` starts; others may join by hand."""


def read_hosts(path: str | Path) -> FleetFile:
    """Read and check ``HOSTS.yaml``.

    Raises:
        MistakesError: The file has mistakes; the error has all of them, with their lines.
        InputError: The file does not exist.
    """
    file = Path(path)
    tree = load_tree(file, "hosts file", "fleet: 1, hosts: ...")
    try:
        read = FleetFile.model_validate(plain(tree))
    except ValidationError as error:
        mistakes = [mistake(FleetFile, tree, details) for details in error.errors()]
        raise MistakesError(file, mistakes) from error
    lower: dict[str, str] = {}
    for name in read.hosts:
        other = lower.setdefault(name.lower(), name)
        if other != name:  # the same folder on Windows and macOS
            text = f"hosts {other} and {name} differ in case only"
            raise MistakesError(file, [Mistake(line_of(tree, ("hosts", name)), text)])
    return read


def parse_labels(texts: Iterable[str]) -> dict[str, str]:
    """Return the labels of ``--label NAME=VALUE``, each of which may have several with commas.

    Raises:
        InputError: A label is not valid, or has two values.
    """
    labels: dict[str, str] = {}
    for text in texts:
        for part in text.split(","):
            name, equals, value = (piece.strip() for piece in part.partition("="))
            try:
                HostEntry.model_validate({"labels": {name: value}})
            except ValidationError:
                equals = ""
            if not equals:
                raise InputError(
                    f"label is not NAME=VALUE: {part.strip()!r}",
                    "letters, digits and . _ - only, such as npu=4000",
                )
            if labels.setdefault(name, value) != value:
                raise InputError(f"label {name} has two values: {labels[name]} and {value}")
    return labels


def as_labels(given: Mapping[str, str] | str | None) -> dict[str, str]:
    """Return labels that are given as a mapping, or as text: ``npu=4000,site=lab``."""
    if isinstance(given, str):
        return parse_labels([given])
    return dict(given or {})


def matches(labels: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    """Whether a host has every wanted label with its value."""
    return all(labels.get(name) == value for name, value in wanted.items())
