"""Price tables."""

from __future__ import annotations

import pytest

from ovtool.core.errors import InputError
from ovtool.selection.prices import Prices, read_prices


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("p.yaml", "currency: EUR\nprices:\n  '*EPYC*': 0.08\n  mini: 0.01\n"),
        ("p.csv", "machine,price_per_hour,currency\n*EPYC*,0.08,EUR\nmini,0.01,EUR\n"),
    ],
)
def test_price_table_of_yaml_and_csv(tmp_path, name, text):
    (tmp_path / name).write_text(text, encoding="utf-8")
    prices = read_prices(tmp_path / name)
    assert prices == Prices("EUR", (("*EPYC*", 0.08), ("mini", 0.01)))
    assert prices.of("AMD epyc, 2 cores") == 0.08
    assert prices.of("minimal") is None
    assert prices.of(None) is None


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("p.yaml", ""),
        ("p.yaml", "currency: EUR\nprices: {}"),
        ("p.yaml", "currency: EUR\nprices: {a: 0}"),
        ("p.yaml", "currency: EUR\nprices: {a: .nan}"),
        ("p.yaml", "currency: EUR\nprices: {a: 1}\nmore: 1"),
        ("p.yaml", "{"),
        ("p.yaml", "!!python/object/apply:os.system ['true']"),
        ("p.yaml", "{currency: EUR, prices: {a: 1e999}}"),
        ("p.yaml", f"{{currency: EUR, prices: {{a: {'9' * 5000}}}}}"),
        ("p.yaml", "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n"),
        ("p.yaml", "[" * 900_000),
        ("p.yaml", "x" * (2 << 20)),
        ("p.csv", f"machine,price_per_hour,currency\n{'a' * 200_000},1,EUR\n"),
        ("p.csv", ""),
        ("p.csv", "a,b\n1,2\n"),
        ("p.csv", "machine,price_per_hour,currency\na,1,EUR\nb,1,USD\n"),
        ("p.csv", "machine,price_per_hour,currency\na,1,EUR\na,2,EUR\n"),
        ("p.csv", "machine,price_per_hour,currency\na,,EUR\n"),
    ],
)
def test_invalid_price_table_is_an_error_of_one_line(tmp_path, name, text):
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=name.replace(".", "[.]")) as caught:
        read_prices(tmp_path / name)
    assert "\n" not in str(caught.value)
