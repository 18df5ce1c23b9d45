"""A host answers every request, and measures one group at a time."""

import base64
import hashlib
import threading
import time

import pytest

from ovtool.core.errors import InputError
from ovtool.core.variant import RECORD
from ovtool.fleet import messages
from ovtool.fleet.host import ATTEMPTS, Host
from ovtool.fleet.messages import Describe, FileSet, Measure, Store, Stored


def ask(host, request):
    return messages.parse_reply(host.answer(messages.dump(request)))


def sent(host, variant):
    """Send the files of a variant; return them."""
    files = {}
    for name in (variant.xml.name, variant.bin.name, RECORD):
        content = (variant.folder / name).read_bytes()
        files[name] = sha = hashlib.sha256(content).hexdigest()
        text = base64.b64encode(content).decode()
        ask(host, Store(sha256=sha, size=len(content), offset=0, content=text))
    assert all(done for done, _ in ask(host, Stored(files=tuple(files.values())))["files"].values())
    return FileSet(files=files)


def measure(host, variant, files, environment):
    trial = {"variant": variant.id, "variant_name": "net", "device": "CPU", "batch": 1}
    request = Measure(
        environment=environment,
        trials=(trial,),
        variants={variant.id: files},
        settings={"rounds": 3, "starts": False},
        timeout_s=60.0,
    )
    return ask(host, request)["measurements"]


@pytest.mark.parametrize("text", ["", "{}", "null", '{"op": "run"}', 3, None, "\ud800"])
def test_whatever_arrives_gets_a_reply(tmp_path, text):
    with pytest.raises(InputError):
        messages.parse_reply(Host("a", tmp_path).answer(text))


def test_content_that_is_no_base64_is_refused(tmp_path):
    with pytest.raises(InputError):
        ask(Host("a", tmp_path), Store(sha256="a" * 64, size=3, offset=0, content="?" * 4))


def test_a_variant_without_its_files_is_refused(tmp_path, net, measuring):
    host = Host("a", tmp_path)
    with pytest.raises(InputError):
        measure(host, net, FileSet(files={net.xml.name: "a" * 64}), "0" * 12)
    assert measuring.groups == ()


def test_a_second_group_stops_the_first(tmp_path, net, measuring):
    """The client of the first has lost its connection: nobody waits for it."""
    host = Host("a", tmp_path)
    files, environment = sent(host, net), ask(host, Describe())["environment"]["id"]
    measuring.delay_s = 30.0
    first = threading.Thread(target=lambda: measure(host, net, files, environment))
    first.start()
    while not measuring.groups:
        time.sleep(0.01)
    measuring.delay_s = 0.0
    (row,) = measure(host, net, files, environment)
    assert row["status"] == "ok"
    first.join(10)
    assert not first.is_alive()


@pytest.mark.parametrize(("deaths", "measured"), [(ATTEMPTS - 1, True), (ATTEMPTS, False)])
def test_a_process_that_dies_is_started_again(tmp_path, net, measuring, deaths, measured):
    host = Host("a", tmp_path)
    files, environment = sent(host, net), ask(host, Describe())["environment"]["id"]
    measuring.deaths = deaths
    if measured:
        (row,) = measure(host, net, files, environment)
        assert row["status"] == "ok"
    else:
        with pytest.raises(messages.MeasuringFailedError):
            measure(host, net, files, environment)


def test_the_process_outlives_the_thread_that_asked_first(tmp_path, net, measuring, monkeypatch):
    """On Linux, a process ends with the thread that started it."""
    starters = []
    start = measuring.__init__
    monkeypatch.setattr(
        measuring,
        "__init__",
        lambda self, *args: (start(self, *args), starters.append(threading.current_thread()))[0],
    )
    host = Host("a", tmp_path)
    asking = threading.Thread(target=lambda: ask(host, Describe()))
    asking.start()
    asking.join()
    (starter,) = starters
    assert starter is not asking
    assert starter.is_alive()


@pytest.mark.slow
@pytest.mark.usefixtures("local_workers", "real_measuring")
def test_real_measurements_of_transferred_files(tmp_path, net):
    from ovtool.core.measurement import Measurement

    host = Host("a", tmp_path)
    state = messages.HostState.model_validate(ask(host, Describe()))
    assert state.health_error == ""
    assert state.health_fps > 0
    assert state.environment["facts"]["host"] == "a"
    environment = state.environment["id"]
    (row,) = measure(host, net, sent(host, net), environment)
    assert row["status"] == "ok"
    assert row["environment"] == environment
    assert row["trial"]["variant_name"] == "net"
    import json

    assert Measurement.from_json(json.dumps(row)).figures["throughput_fps"] > 0
    with pytest.raises(InputError, match="environment"):
        measure(host, net, sent(host, net), "0" * 12)
