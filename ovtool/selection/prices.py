"""Price table: the price of an hour of each machine."""

from __future__ import annotations

import csv
import fnmatch
import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError

from ovtool.core import files
from ovtool.core.errors import InputError
from ovtool.core.fields import Positive, Record, invalid_content
from ovtool.core.input_limits import check_yaml

if TYPE_CHECKING:
    from collections.abc import Mapping

_COLUMNS = ("machine", "price_per_hour", "currency")
_FORMAT = (
    "as YAML: currency: EUR and prices: {'*EPYC*': 0.08}; as CSV: the columns "
    f"{','.join(_COLUMNS)}"
)
_MAX_BYTES = 1 << 20
_Text = Annotated[str, Field(min_length=1, max_length=200)]


class _Table(Record):
    """The content of a price table."""

    currency: Annotated[str, Field(min_length=1, max_length=20)]
    prices: Annotated[dict[_Text, Positive], Field(min_length=1)]


@dataclass(frozen=True, slots=True)
class Prices:
    """Prices by machine."""

    currency: str
    per_hour: tuple[tuple[str, float], ...]
    """(pattern, price) pairs.  A pattern with ``*`` and ``?`` matches the column ``machine``, the
    name of the host or a label of the host, case-insensitively; the first match counts."""

    def of(self, machine: str | None, host: str | None = None, labels: str = "") -> float | None:
        """Return the price of an hour; None without a match: unknown, not free.

        ``labels`` are those of the host, ``NAME=VALUE`` with commas between.
        """
        names = [machine or "", *filter(None, (host, *labels.split(",")))]
        folded = [name.casefold() for name in names]
        for pattern, price in self.per_hour:
            if any(fnmatch.fnmatchcase(name, pattern.casefold()) for name in folded):
                return price
        return None

    def of_row(self, row: Mapping[str, Any]) -> float | None:
        """Return the price of an hour of the machine of a row."""
        return self.of(row["machine"], row["host"], row["host_labels"] or "")


def read_prices(path: str | Path) -> Prices:
    """Read a price table: CSV by the file's suffix, else YAML.

    Raises:
        InputError: The file is missing, is not a price table, or has several currencies.
    """
    source = files.existing_file(Path(path), "table of prices")
    if source.stat().st_size > _MAX_BYTES:
        raise InputError(f"{source} is larger than {_MAX_BYTES // 1024} KiB", _FORMAT)
    text = source.read_text(encoding="utf-8-sig", errors="replace")
    is_csv = source.suffix.lower() == ".csv"
    content = _parse_csv(text, source) if is_csv else _parse_yaml(text, source)
    try:
        table: _Table = TypeAdapter(_Table).validate_python(content)
    except ValidationError as error:
        raise invalid_content(source, error, _FORMAT) from error
    return Prices(table.currency, tuple(table.prices.items()))


def _parse_yaml(text: str, path: Path) -> Any:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        check_yaml(text)
        return YAML(typ="safe", pure=True).load(text)
    except (YAMLError, ValueError, TypeError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: invalid YAML: {reason[:200]}", _FORMAT) from error


def _parse_csv(text: str, path: Path) -> dict[str, Any]:
    try:
        rows = list(csv.DictReader(io.StringIO(text)))
    except csv.Error as error:
        raise InputError(f"{path} is not a CSV file: {error}", _FORMAT) from error
    if not rows or not set(_COLUMNS) <= set(rows[0]):
        raise InputError(f"{path}: not a price table", _FORMAT)
    currencies = {row["currency"] for row in rows}
    if len(currencies) > 1:
        names = ", ".join(sorted(map(str, currencies)))
        raise InputError(f"{path}: several currencies: {names}", "convert the prices to one")
    prices: dict[str, Any] = {}
    for line, row in enumerate(rows, 2):
        if row["machine"] in prices:
            raise InputError(f"{path}, line {line}: second price of {row['machine']!r}")
        prices[row["machine"]] = row["price_per_hour"]
    return {"currency": currencies.pop(), "prices": prices}
