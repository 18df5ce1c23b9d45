"""What an hour of a machine costs: a small table that the user gives."""

from __future__ import annotations

import csv
import fnmatch
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError

from ovtool.core import files
from ovtool.core.errors import InputError
from ovtool.core.variant import Record

_COLUMNS = ("machine", "price_per_hour", "currency")
_FORM = "as YAML: currency: EUR and prices: {'*EPYC*': 0.08}; as CSV: the columns " + ",".join(
    _COLUMNS
)
_Price = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_Text = Annotated[str, Field(min_length=1, max_length=200)]


class _Table(Record):
    """The file as it is written."""

    currency: Annotated[str, Field(min_length=1, max_length=20)]
    prices: Annotated[dict[_Text, _Price], Field(min_length=1)]


@dataclass(frozen=True, slots=True)
class Prices:
    """Prices by machine.

    Args:
        currency: Of all of them.
        per_hour: From a pattern (``*`` and ``?``, upper and lower case alike) of the column
            ``machine`` to a price; the first that matches counts.
    """

    currency: str
    per_hour: tuple[tuple[str, float], ...]

    def of(self, machine: str | None) -> float | None:
        """Return the price of an hour; None where no pattern matches: unknown, not free."""
        name = (machine or "").casefold()
        found = (p for pattern, p in self.per_hour if fnmatch.fnmatchcase(name, pattern.casefold()))
        return next(found, None)


def read(path: str | Path) -> Prices:
    """Read a table of prices: YAML, or CSV by the name of the file.

    Raises:
        InputError: It is not there, no such table, or has several currencies.
    """
    found = files.existing_file(Path(path), "table of prices")
    text = found.read_text(encoding="utf-8-sig", errors="replace")
    raw = _from_csv(text, found) if found.suffix.lower() == ".csv" else _from_yaml(text, found)
    try:
        table: _Table = TypeAdapter(_Table).validate_python(raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "content"
        raise InputError(f"{found}: {where}: {first['msg']}", _FORM) from error
    return Prices(table.currency, tuple(table.prices.items()))


def _from_yaml(text: str, path: Path) -> Any:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        return YAML(typ="safe", pure=True).load(text)
    except (YAMLError, ValueError) as error:
        told = " ".join(str(error).split())
        raise InputError(f"{path}: no YAML: {told[:200]}", _FORM) from error


def _from_csv(text: str, path: Path) -> dict[str, Any]:
    rows = list(csv.DictReader(io.StringIO(text)))
    if not rows or not set(_COLUMNS) <= set(rows[0]):
        raise InputError(f"{path}: no table of prices", _FORM)
    currencies = {row["currency"] for row in rows}
    if len(currencies) > 1:
        told = ", ".join(sorted(map(str, currencies)))
        raise InputError(f"{path}: prices in several currencies: {told}", "convert them to one")
    prices: dict[str, Any] = {}
    for line, row in enumerate(rows, 2):
        if row["machine"] in prices:
            raise InputError(f"{path}, line {line}: {row['machine']!r} has a price already")
        prices[row["machine"]] = row["price_per_hour"]
    return {"currency": currencies.pop(), "prices": prices}
