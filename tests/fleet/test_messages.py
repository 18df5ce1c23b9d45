"""Messages: what is accepted, and what is refused before anything runs."""

import json
import posixpath

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from ovtool.core.errors import InputError
from ovtool.fleet import messages
from ovtool.fleet.messages import FileSet, Measure, MeasuringFailedError, Reply, Store, Stored

SHA = "a" * 64
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=20,
)


@pytest.mark.parametrize(
    "request_",
    [
        messages.Describe(),
        messages.Stop(),
        Stored(files=(SHA,)),
        Store(sha256=SHA, size=3, offset=0, content="AAAA"),
        Measure(
            environment="0" * 12,
            trials=({"device": "CPU"},),
            variants={"v": FileSet(files={"model.xml": SHA})},
            settings={"rounds": 3},
            timeout_s=1.0,
        ),
    ],
    ids=lambda request: request.op,
)
def test_a_request_is_the_same_after_its_way(request_):
    assert messages.parse_request(messages.dump(request_)) == request_


@pytest.mark.slow
@given(JSON)
def test_any_other_document_is_refused(content):
    with pytest.raises(InputError):
        messages.parse_request(json.dumps(content))


@given(st.text(max_size=200) | st.binary(max_size=50) | st.integers())
def test_any_other_text_is_refused(text):
    with pytest.raises(InputError):
        messages.parse_request(text)


@pytest.mark.parametrize(
    "change", [{"op": "run"}, {"function": "os.system"}, {"files": ["../../etc"]}, {"files": SHA}]
)
def test_a_request_with_other_fields_is_refused(change):
    good = {"op": "stored", "files": [SHA]}
    messages.parse_request(json.dumps(good))
    with pytest.raises(InputError):
        messages.parse_request(json.dumps(good | change))


def test_messages_that_are_too_large_or_too_deep_are_refused(monkeypatch):
    with pytest.raises(InputError):
        messages.parse_request("[" * 500 + "]" * 500)
    with pytest.raises(InputError):
        messages.parse_request("[" * 100_000 + "]" * 100_000)
    monkeypatch.setattr(messages, "MAX_BYTES", 1000)
    store = Store(sha256=SHA, size=9000, offset=0, content="A" * 2000)
    with pytest.raises(InputError, match="limit"):
        messages.dump(store)
    with pytest.raises(InputError, match="limit"):
        messages.parse_request(store.model_dump_json())


def test_an_error_is_raised_where_the_request_was_made():
    with pytest.raises(InputError, match="no room") as caught:
        messages.parse_reply(Reply(error="no room", hint="free some").model_dump_json())
    assert caught.value.hint == "free some"
    assert not isinstance(caught.value, MeasuringFailedError)
    with pytest.raises(MeasuringFailedError):
        messages.parse_reply(Reply(error="died", failed=True).model_dump_json())
    assert messages.parse_reply(Reply(ok={"a": 1}).model_dump_json()) == {"a": 1}


@pytest.mark.parametrize(
    "name",
    ["", "/etc/passwd", "../a", "a/../../b", "a//b", "C:\\a", "c:a", "a\\b", "a/./b", "nul",
     "a\x00b", "a.", "a ", "COM1.txt", "a?", "x" * 1100],
)  # fmt: skip
def test_paths_that_leave_their_folder_are_refused(name):
    with pytest.raises(ValidationError):
        FileSet(files={name: SHA})


@given(st.text(max_size=60))
def test_an_accepted_path_stays_inside(name):
    try:
        messages.require_safe_name(name)
    except ValueError:
        return
    assert posixpath.normpath(f"/cache/{name}") == f"/cache/{name}"


@pytest.mark.parametrize("names", [("a", "A"), ("a", "a/b"), ("a/b", "A")])
def test_paths_in_conflict_are_refused(names):
    with pytest.raises(ValidationError):
        FileSet(files=dict.fromkeys(names, SHA))
