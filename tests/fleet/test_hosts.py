"""The hosts file and labels."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovtool.core.errors import InputError
from ovtool.core.yaml_file import MistakesError
from ovtool.fleet.hosts import as_labels, matches, parse_labels, read_hosts

LETTERS = "abcxyzABCXYZ"
REST = LETTERS + "0189_.-"
NAMES = st.builds(str.__add__, st.sampled_from(LETTERS), st.text(REST, max_size=20))
VALUES = st.builds(str.__add__, st.sampled_from(LETTERS + "0189"), st.text(REST + "+", max_size=20))


def write(folder, text):
    path = folder / "hosts.yaml"
    path.write_text(text)
    return path


def test_a_file_is_read(tmp_path):
    text = "fleet: 1\nhosts:\n  a: {ssh: me@a, labels: {npu: 4000, site: lab}}\n  b: {}\n"
    read = read_hosts(write(tmp_path, text))
    assert read.hosts["a"].labels == {"npu": "4000", "site": "lab"}
    assert read.hosts["b"].ssh is None
    assert read.listen.startswith("127.0.0.1:")


def test_all_mistakes_have_their_lines(tmp_path):
    text = "fleet: 1\nhosts:\n  a: {shh: x}\n  ../b: {}\n  c: {ssh: -oProxyCommand=x}\n"
    with pytest.raises(MistakesError) as caught:
        read_hosts(write(tmp_path, text))
    assert [m.line for m in caught.value.mistakes] == [3, 4, 5]


@pytest.mark.parametrize("name", ["NUL", "com1", "a.", ".a", "a/b", "a" * 65, "nul.txt"])
def test_names_that_are_no_folders_are_refused(tmp_path, name):
    with pytest.raises(MistakesError):
        read_hosts(write(tmp_path, f"fleet: 1\nhosts:\n  {name}: {{}}\n"))


def test_names_that_differ_in_case_only_are_refused(tmp_path):
    with pytest.raises(MistakesError):
        read_hosts(write(tmp_path, "fleet: 1\nhosts:\n  box: {}\n  Box: {}\n"))


@given(st.dictionaries(NAMES, VALUES, min_size=1, max_size=5))
def test_labels_are_read_as_they_are_written(labels):
    texts = [f"{name}={value}" for name, value in labels.items()]
    assert parse_labels(texts) == parse_labels([",".join(texts)]) == labels
    assert as_labels(",".join(texts)) == as_labels(labels) == labels


@given(st.text(max_size=30))
def test_other_text_is_an_input_error(text):
    try:
        labels = parse_labels([text])
    except InputError:
        return
    assert all(f"{name}" in text and value in text for name, value in labels.items())


def test_a_label_with_two_values_is_refused():
    with pytest.raises(InputError, match="npu"):
        parse_labels(["npu=3720", "npu=4000"])


@given(st.dictionaries(NAMES, VALUES, max_size=4), st.dictionaries(NAMES, VALUES, max_size=2))
def test_a_host_matches_with_every_wanted_label(labels, wanted):
    assert matches(labels, wanted) == (wanted.items() <= labels.items())
    assert matches({**labels, **wanted}, wanted)
