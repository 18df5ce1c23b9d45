"""TensorFlow files as a source."""

import base64
import os
import sys
import zlib

import pytest

from ovtool.core.errors import InputError
from ovtool.models import tensorflow
from tests.models.source_models import make, written

TFLITE = (
    b"c-l=+Jxjw-6unJin_w&*99k(@br3hfu5BDNlcR19O(nDs`XNa`1VLv9e}i4b(NRIouh7*^&{13*G@kd~)rQC6ew}ka"
    b"o=rr%{?5jEmSyws_kj-J8bl^63~d1x;DaOWIxtA7ed?DUA3j#Rm#62}WXVatm+#ugZ&%)H9C<&h&2;Z;lD=Oorlak("
    b")+V$C=n_C$Ig6-FRd^M0$;N~-=j*@?a0}e?>|r2A#QSt|`UTd{vc9hJ<Vf4#SwuzEzo`5(Pv%Un8Qe$q%lFa!$*!<("
    b"sW;V_x~^iJmKnKxfoqa~3G{&`$0y+0uvK6VIE=>KpeqI<5n;?d{`R|OZbe-{6d#NuNy>9vwKb{xTovn@)RcguQ1tpq"
    b"{J)!}IP$;shFYunGk_Qdy)d_j#eReRPwZ6F=ha;GU(-Gg|NSot1WQW"
)
"""FULLY_CONNECTED and SOFTMAX: image [1, 4] -> scores and probabilities [1, 3]."""


@pytest.fixture
def lite(tmp_path):
    path = tmp_path / "m.tflite"
    path.write_bytes(zlib.decompress(base64.b85decode(TFLITE)))
    return path


def test_tensorflow_lite_is_compared_with_its_interpreter(tmp_path, lite):
    pytest.importorskip("ai_edge_litert", reason="ovtool[tflite] is not installed")
    record = make(lite, tmp_path / "out").record
    assert record.check.against.startswith("ai-edge-litert ")
    assert [d.status for d in record.check.differences] == ["checked", "checked"]


def test_tensorflow_lite_without_an_interpreter_is_not_checked(tmp_path, lite, without):
    without("ai_edge_litert", "tensorflow")
    record = make(lite, tmp_path / "out").record
    assert [port.name for port in record.outputs] == ["scores", "probabilities"]
    assert record.check.against is None
    assert "ovtool[tflite]" in record.check.why_unchecked
    assert [note.id for note in record.notes] == ["conversion-not-checked"]


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


def message(number, content):
    """Return a field of the wire format of Protocol Buffers that is a message or a text."""
    assert len(content) < 128
    return bytes([number << 3 | 2, len(content)]) + content


def graph_node(name, operation, inputs=(), **attributes):
    """Return a node of a GraphDef; the fields are those of TensorFlow's graph.proto."""
    content = message(1, name.encode()) + message(2, operation.encode())
    content += b"".join(message(3, value.encode()) for value in inputs)
    for key, value in attributes.items():
        content += message(5, message(1, key.encode()) + message(2, value))
    return message(1, content)


def test_frozen_graph_is_read_with_the_shape_that_it_needs(tmp_path):
    """SpaceToDepth of an input of unknown rank, which OpenVINO does not convert."""
    floats, unknown_rank, two = b"\x30\x01", message(7, b"\x18\x01"), b"\x18\x02"
    path = tmp_path / "net.pb"
    path.write_bytes(
        graph_node("x", "Placeholder", dtype=floats, shape=unknown_rank)
        + graph_node("y", "SpaceToDepth", ["x"], T=floats, block_size=two)
    )
    with pytest.raises(InputError) as raised:
        make(path, tmp_path / "out")
    assert "--shape x:0=" in raised.value.hint
    record = make(path, tmp_path / "out", input_shapes={"x:0": (-1, 4, 4, 3)}).record
    assert [port.shape for port in record.outputs] == [(-1, 2, 2, 12)]
