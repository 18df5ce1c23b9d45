"""TensorFlow files as a source."""

import os
import sys

import pytest

from ovtool.core.errors import InputError
from ovtool.models import tensorflow
from tests.models.source_models import written


def empty_folder(folder):
    (folder / "saved").mkdir()
    return "saved"


def broken_saved_model(folder):
    (folder / "saved").mkdir()
    (folder / "saved" / "saved_model.pb").write_bytes(b"zzz")
    return "saved"


@pytest.mark.parametrize(
    ("prepare", "value"),
    [
        (written("m.tflite", os.urandom(64)), r"m\.tflite"),
        (written("m.tflite", b"\0\0\0\0TFL3" + bytes(64)), r"m\.tflite"),
        (written("m.pb", b"\xff\xfe" * 64), "TensorFlow"),
        (empty_folder, "saved"),
        (broken_saved_model, "TensorFlow"),
    ],
)
def test_invalid_file_raises_one_line_and_leaves_nothing(invalid_file, prepare, value):
    invalid_file(prepare, value)


class Port:
    def __init__(self, *names):
        self.names = set(names)

    def get_names(self):
        return self.names


def test_ports_are_matched_by_any_of_their_names():
    ports = [Port("serving_default_b:0", "b"), Port("a")]
    assert list(tensorflow._match_names(ports, ["a", "b"]).items()) == [("b", "b"), ("a", "a")]
    with pytest.raises(InputError, match="'c'"):
        tensorflow._match_names([Port("c")], ["a", "b"])


def test_native_messages_go_to_the_log(capfd, caplog):
    with caplog.at_level("DEBUG", "ovtool"), tensorflow._native_messages_in_log():
        os.write(2, b"from C++\n")
    assert capfd.readouterr().err == ""
    assert "from C++" in caplog.text


def test_graph_of_a_saved_model_does_not_run_without_trust(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow", None)  # an import would raise
    assert tensorflow._runtime(tmp_path, object(), trust=False)[0] is None
    why = [tensorflow._runtime(tmp_path, object(), trust=trust)[1] for trust in (False, True)]
    assert "--trust" in why[0]
    assert "--trust" not in why[1]
