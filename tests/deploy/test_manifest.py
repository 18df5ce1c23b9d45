"""MANIFEST.json: every field has its type, and nothing else is read."""

import copy as copying
import json

import pytest

from ovtool.core.errors import InputError
from ovtool.deploy.manifest import (
    MANIFEST,
    format_manifest,
    is_package_name,
    package_name,
    read_manifest,
)
from tests.helpers.bundles import read_document, write_document

WRONG = {str: 3, int: "3", float: "x", bool: "yes", type(None): [[]], list: "x", dict: ["x"]}
"""A value of another type for each type of JSON."""
FREE = {"row.figures", "source_sha256"}


def paths_of(value, path=()):
    """Yield the path of every value of a document, the whole included."""
    if path:
        yield path
    items = value.items() if isinstance(value, dict) else ()
    if isinstance(value, list):
        items = list(enumerate(value))[:1]
    for key, item in items:
        if path == ("row", "figures") and key not in ("variant", "batch", "latency_p50_ms"):
            continue
        if path == ("files",) and key != "README.md":
            continue
        yield from paths_of(item, (*path, key))


def changed(document, path, value):
    document = copying.deepcopy(document)
    *parents, last = path
    place = document
    for key in parents:
        place = place[key]
    place[last] = value
    return document


@pytest.mark.slow
def test_every_value_of_another_type_is_refused(copy):
    document = read_document(copy)
    paths = list(paths_of(document))
    assert len(paths) > 80
    for path in paths:
        value = document
        for key in path:
            value = value[key]
        write_document(copy, changed(document, path, WRONG[type(value)]))
        with pytest.raises(InputError) as caught:
            read_manifest(copy)
        assert len(str(caught.value).splitlines()) == 1, path


def test_every_field_is_required_or_has_the_meaning_of_its_default(copy):
    document = read_document(copy)
    defaults = {"schema_version", "labels", "files", "docker", "server"}
    for name in set(document) - defaults:
        write_document(copy, {k: v for k, v in document.items() if k != name})
        with pytest.raises(InputError, match=name):
            read_manifest(copy)


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{}", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b'{"a": NaN}', b"{" * 1000,
        b'{"schema_version": 1, "schema_version": 1}', b"0", b'"text"', b"{}" + b" " * (5 << 20),
    ],
    ids=lambda content: repr(content[:8]),
)  # fmt: skip
def test_a_file_that_is_no_manifest(tmp_path, content):
    for suffix in (b"", b', "crc32": "00000000"}\n'):
        (tmp_path / MANIFEST).write_bytes(content + suffix)
        with pytest.raises(InputError) as caught:
            read_manifest(tmp_path)
        assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("samples", "tolerance"), 0.5),  # would accept any output
        (("samples", "tolerance"), float("inf")),
        (("samples", "count"), 0),
        (("requests",), 0),
        (("requests",), 10**12),
        (("trial", "batch"), 3),
        (("inputs",), []),
        (("inputs", 0, "data_shape"), [2, 16, 16]),
        (("inputs", 0, "data_shape"), [-1, 16, 16, 3]),
        (("inputs", 0, "batch_axis"), 9),
        (("files", "README.md", "bytes"), -1),
        (("packages", 0, "version"), "1.0 --index-url http://x"),
        (("packages", 0, "name"), "a\nb"),
        (("created",), "yesterday"),
        (("properties",), {"A\nB": "1"}),
        (("row", "figures", "latency_p50_ms"), "fast"),
        (("row", "figures", "unknown"), 1),
        (("row", "kind"), "estimated"),
        (("unknown",), 1),
        (("schema_version",), 2),
        (("target",), "java"),
    ],
    ids=str,
)
def test_values_out_of_range(copy, path, value):
    write_document(copy, changed(read_document(copy), path, value))
    with pytest.raises(InputError):
        read_manifest(copy)


def test_what_is_read_is_what_was_written(deployed):
    manifest = read_manifest(deployed.bundle)
    assert format_manifest(manifest) == (deployed.bundle / MANIFEST).read_bytes()
    assert json.loads((deployed.bundle / MANIFEST).read_text())["package"] == manifest.package


@pytest.mark.parametrize("name", ["lite0 INT8", "2x", "json", "Ünïcode", "", "a" * 200, "../up"])
def test_any_name_of_a_variant_gives_a_package(name):
    assert is_package_name(package_name(name))
