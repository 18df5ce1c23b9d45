"""Files through a folder that client and hosts see, instead of a transfer."""

import hashlib
from types import SimpleNamespace

import pytest

from ovtool.core.errors import InputError
from ovtool.core.sweep_folder import SweepFolder
from ovtool.fleet.cache import Cache
from ovtool.fleet.hosts import read_hosts
from ovtool.fleet.run import sweep_fleet
from ovtool.fleet.shared import SharedStore
from tests.fleet.conftest import needs_dask

CONTENT = b"weights" * 1000
SHA = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "model.bin"
    path.write_bytes(CONTENT)
    return path


def urls(tmp_path):
    return (f"memory://{tmp_path.name}", f"file://{tmp_path}/store", f"{tmp_path}/plain")


@needs_dask
def test_a_file_is_put_once_and_taken_with_its_hash(tmp_path, source):
    for number, url in enumerate(urls(tmp_path)):
        cache = Cache(tmp_path / f"cache-{number}")
        cache.take(SHA, SharedStore(url))  # is not there
        assert cache.stored(SHA) == (False, 0)
        assert SharedStore(url).put({SHA: source}) == 1
        assert SharedStore(url).put({SHA: source}) == 0
        cache.take(SHA, SharedStore(url))
        assert cache.stored(SHA) == (True, len(CONTENT))
        assert (cache.folder / "files" / SHA).read_bytes() == CONTENT


@needs_dask
@pytest.mark.parametrize("damaged", [b"x" * len(CONTENT), CONTENT[:-1], b""])
def test_a_damaged_file_is_left_to_a_transfer(tmp_path, source, damaged):
    shared, cache = SharedStore(f"{tmp_path}/store"), Cache(tmp_path / "cache")
    shared.put({SHA: source})
    (tmp_path / "store" / SHA).write_bytes(damaged)
    cache.take(SHA, shared)
    assert cache.stored(SHA) == (False, 0)
    assert cache.store(SHA, len(CONTENT), 0, CONTENT) == (True, len(CONTENT))


@needs_dask
@pytest.mark.parametrize("url", ["nonsense://a/b", "file:///proc/no/such"])
def test_a_folder_that_cannot_be_written_is_one_line(url, source):
    with pytest.raises(InputError) as caught:
        SharedStore(url).put({SHA: source})
    assert url in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("url", ["models", "./models", "-x"])
def test_a_path_that_depends_on_a_process_is_refused(tmp_path, url):
    path = tmp_path / "hosts.yaml"
    path.write_text(f"fleet: 1\nshared: {url}\nhosts: {{}}\n")
    with pytest.raises(InputError, match="shared"):
        read_hosts(path)


@pytest.mark.slow
@needs_dask
@pytest.mark.usefixtures("local_workers")
def test_hosts_take_models_from_the_shared_folder(start_fleet, net, tmp_path):
    shared = f"memory://{tmp_path.name}-sweep"
    fleet = start_fleet()
    fleet.join("a", shared=shared)
    fleet.join("b")
    path = tmp_path / "hosts.yaml"
    path.write_text(f"fleet: 1\nlisten: {fleet.address}\nshared: {shared}\nhosts: {{}}\n")
    notes = []
    result = sweep_fleet(
        [net], out=tmp_path / "s", fleet=str(path), rounds=3, starts=False, hints=["latency"],
        target_pct=50, progress=SimpleNamespace(note=notes.append),
    )  # fmt: skip
    sent = {h.host: h.sent_mib for h in result.hosts}
    assert sent["a"] == 0
    assert sent["b"] > 0  # it does not see the folder
    assert all(len([*SweepFolder(h.folder).measurements()]) == 1 for h in result.hosts)
