"""The cache of a host: transfers that are cut, repeated or damaged, and folders."""

import hashlib
import os
import shutil
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovtool.core.errors import InputError
from ovtool.fleet import cache as cache_module
from ovtool.fleet.cache import Cache
from ovtool.fleet.messages import FileSet


def sha(content):
    return hashlib.sha256(content).hexdigest()


@pytest.mark.slow
@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=8))
def test_a_file_is_complete_in_any_order_of_pieces(content, cuts):
    ends = sorted({min(cut, len(content)) for cut in cuts} | {len(content)})
    with tempfile.TemporaryDirectory() as folder:
        cache = Cache(Path(folder))
        start = 0
        for end in ends:
            piece = content[start:end]
            for _ in range(2):  # a message may arrive twice
                done, stored = Cache(Path(folder)).store(sha(content), len(content), start, piece)
            assert (done, stored) == (end == len(content), end)
            start = end
        assert cache.stored(sha(content)) == (True, len(content))
        made = cache.folder_of(FileSet(files={"deep/model.bin": sha(content)}))
        assert (made / "deep/model.bin").read_bytes() == content


def test_a_damaged_file_does_not_count(tmp_path):
    cache = Cache(tmp_path)
    with pytest.raises(InputError):
        cache.store(sha(b"right"), 5, 0, b"wrong")
    assert cache.stored(sha(b"right")) == (False, 0)
    assert cache.store(sha(b"right"), 5, 0, b"right") == (True, 5)


def test_bytes_beyond_the_size_or_out_of_order_are_not_stored(tmp_path):
    cache = Cache(tmp_path)
    with pytest.raises(InputError):
        cache.store(sha(b"right"), 3, 0, b"right")
    assert cache.store(sha(b"right"), 5, 3, b"ht") == (False, 0)


@pytest.mark.parametrize("name", ["", "..", "../x", "A" * 64, "a" * 63, "a" * 64 + "\n"])
def test_only_hashes_name_files(tmp_path, name):
    with pytest.raises(InputError):
        Cache(tmp_path / "cache").stored(name)


def test_a_file_that_changed_on_the_disk_is_refused_once(tmp_path):
    cache = Cache(tmp_path)
    cache.store(sha(b"right"), 5, 0, b"right")
    (tmp_path / "files" / sha(b"right")).write_bytes(b"wrong")
    files = FileSet(files={"a": sha(b"right")})
    with pytest.raises(InputError):
        cache.folder_of(files)
    assert cache.stored(sha(b"right")) == (False, 0)
    cache.store(sha(b"right"), 5, 0, b"right")
    assert (cache.folder_of(files) / "a").read_bytes() == b"right"


def test_a_transfer_leaves_free_disk(tmp_path, monkeypatch):
    usage = SimpleNamespace(free=(cache_module.SPARE_MIB << 20) + 4)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    cache = Cache(tmp_path)
    cache.store(sha(b"four"), 4, 0, b"four")
    with pytest.raises(InputError):
        cache.store(sha(b"right"), 5, 0, b"right")


def test_a_limited_cache_forgets_what_was_used_longest_ago(tmp_path):
    cache = Cache(tmp_path, limit_mib=1.0)
    old, used, needed, new = (bytes([n]) * (300 << 10) for n in range(4))
    for age, content in enumerate((old, used, needed)):
        cache.store(sha(content), len(content), 0, content)
        path = tmp_path / "files" / sha(content)
        os.utime(path, (1000 + age, 1000 + age))
    folder = cache.folder_of(FileSet(files={"a": sha(used)}))
    cache.need([sha(needed), sha(new)])
    os.utime(tmp_path / "files" / sha(needed), (1, 1))  # the oldest, but needed
    assert cache.store(sha(new), len(new), 0, new)[0]
    assert not cache.stored(sha(old))[0]
    assert all(cache.stored(sha(content))[0] for content in (used, needed, new))
    assert not folder.exists()  # its links would keep the space
    assert (cache.folder_of(FileSet(files={"a": sha(used)})) / "a").read_bytes() == used


def test_files_of_one_sweep_that_exceed_the_limit_are_an_error(tmp_path):
    cache = Cache(tmp_path, limit_mib=0.5)
    first, second = (bytes([n]) * (300 << 10) for n in range(2))
    cache.need([sha(first), sha(second)])
    cache.store(sha(first), len(first), 0, first)
    with pytest.raises(InputError) as caught:
        cache.store(sha(second), len(second), 0, second)
    assert "--cache-mib" in caught.value.hint
    assert cache.stored(sha(first))[0]
