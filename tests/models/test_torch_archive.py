"""Archives of torch.export that would run code when loaded."""

import io
import json
import os
import sys
import zipfile

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ovtool.core.errors import InputError
from ovtool.models.convert import convert
from ovtool.models.torch_archive import UnsafeFileError, check_exported, is_plain_expression
from tests.models.source_models import exported

EVIL = "__import__('pathlib').Path('ran').touch()"


class Hostile:
    def __reduce__(self):
        return (os.mkdir, ("ran",))


def pickled(value):
    stream = io.BytesIO()
    torch.save(value, stream)
    return stream.getvalue()


@pytest.fixture(scope="module")
def genuine(tmp_path_factory):
    """Name to content of a genuine archive, whose root folder is called net."""
    path = exported(tmp_path_factory.mktemp("exported") / "net.pt2")
    check_exported(path)
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def written(path, records, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in records.items():
            archive.writestr(name, content)
    return path


def edited(records, record, change):
    content = json.loads(records[record])
    change(content)
    return {**records, record: json.dumps(content).encode()}


GRAPH, WEIGHTS = "net/models/model.json", "net/data/weights/model_weights_config.json"


def graph_of(content):
    return content["graph_module"]["graph"]


def evil_size(content):
    sizes = graph_of(content)["tensor_values"]["image"]["sizes"]
    sizes[0]["as_expr"]["expr_str"] = EVIL


def evil_size_in_a_function(content):
    sizes = graph_of(content)["tensor_values"]["image"]["sizes"]
    sizes[0]["as_expr"]["expr_str"] = f'Max("{EVIL}", Integer(1))'


def evil_guard(content):
    content["guards_code"] = [EVIL]


def evil_operation(content):
    graph_of(content)["nodes"][0]["target"] = "torch.os.system"


def file_operation(content):
    graph_of(content)["nodes"][0]["target"] = "torch.ops.aten.from_file.default"


def evil_name(content):
    graph_of(content)["inputs"][0]["as_tensor"]["name"] = f"x={EVIL}"


def evil_parameter_name(content):
    parameter = content["graph_module"]["signature"]["input_specs"][0]["parameter"]
    parameter["parameter_name"] = f'a"){EVIL}("'


def evil_structure(content):
    entry = content["graph_module"]["module_call_graph"][0]["signature"]
    context = json.dumps([{"__enum__": True, "fqn": "antigravity:x", "name": "y"}])
    leaf = {"type": None, "context": None, "children_spec": []}
    spec = [1, {"type": "builtins.dict", "context": context, "children_spec": [leaf]}]
    entry["in_spec"] = json.dumps(spec)


def evil_factory(content):
    entry = content["graph_module"]["module_call_graph"][0]["signature"]
    spec = {"type": "collections.defaultdict", "context": "{}", "children_spec": []}
    entry["out_spec"] = json.dumps([1, spec])


def custom_object(content):
    graph_of(content)["custom_obj_values"] = {"o": {"name": "o", "class_fqn": "x"}}


def pickled_weight(content):
    next(iter(content["config"].values()))["use_pickle"] = True


CHANGES = [
    (GRAPH, evil_size),
    (GRAPH, evil_size_in_a_function),
    (GRAPH, evil_guard),
    (GRAPH, evil_operation),
    (GRAPH, file_operation),
    (GRAPH, evil_name),
    (GRAPH, evil_parameter_name),
    (GRAPH, evil_structure),
    (GRAPH, evil_factory),
    (GRAPH, custom_object),
    (WEIGHTS, pickled_weight),
]


@pytest.mark.parametrize(("record", "change"), CHANGES, ids=[c.__name__ for _, c in CHANGES])
def test_code_in_an_archive_raises(tmp_path, monkeypatch, genuine, record, change):
    monkeypatch.chdir(tmp_path)
    written(tmp_path / "net.pt2", edited(genuine, record, change))
    with pytest.raises(UnsafeFileError) as raised:
        convert("net.pt2", out=tmp_path / "out")
    assert "--trust" in raised.value.hint
    assert not (tmp_path / "ran").exists()
    assert "antigravity" not in sys.modules


@pytest.mark.parametrize(
    "records",
    [
        {"net/data/sample_inputs/model.pt": pickled(Hostile())},
        {"net/data/weights/model.pt": pickled(Hostile())},
        {"net/data/constants/custom_obj_0": b"x"},
        {"net/data/constants/opaque_obj_0": b"x"},
        {"net/data/aotinductor/model/wrapper.so": b"x"},
        {"net/models/other.json": b"{}"},
    ],
    ids=lambda records: next(iter(records)),
)
def test_unknown_records_raise(tmp_path, monkeypatch, genuine, records):
    monkeypatch.chdir(tmp_path)
    path = written(tmp_path / "net.pt2", {**genuine, **records})
    with pytest.raises(UnsafeFileError):
        check_exported(path)
    assert not (tmp_path / "ran").exists()


def test_older_format_raises(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    records = {
        "version": b"8.20",
        "serialized_exported_program.json": b"{}",
        "serialized_state_dict.pt": pickled(Hostile()),
        "serialized_constants.pt": pickled({}),
    }
    with pytest.raises(InputError, match=r"net\.pt2"):
        check_exported(written(tmp_path / "net.pt2", records))
    assert not (tmp_path / "ran").exists()


def test_inflated_archive_raises(tmp_path, genuine):
    bomb = {**genuine, "net/data/weights/weight_0": bytes(50_000_000)}
    with pytest.raises(InputError, match=r"50\d{6}"):
        check_exported(written(tmp_path / "net.pt2", bomb, zipfile.ZIP_DEFLATED))


@pytest.mark.parametrize("damage", ["half", "text", "json", "nested", "no weights"])
def test_damaged_archive_raises_one_line(tmp_path, genuine, damage):
    path = written(tmp_path / "net.pt2", genuine)
    if damage == "half":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif damage == "text":
        path.write_text("hello")
    elif damage == "json":
        written(path, {**genuine, GRAPH: b'{"graph_module"'})
    elif damage == "nested":
        written(path, {**genuine, GRAPH: b"[" * 100_000})
    else:
        written(path, {name: c for name, c in genuine.items() if name != WEIGHTS})
    with pytest.raises(InputError, match=r"net\.pt2") as raised:
        check_exported(path)
    assert "\n" not in str(raised.value)


class Guarded(torch.nn.Module):
    def forward(self, image):
        half = torch.nn.functional.interpolate(image, scale_factor=2)
        return half[:, :, : image.shape[2] // 2 + 1]


def test_genuine_sizes_and_guards_pass(tmp_path):
    image = {0: torch.export.Dim("n"), 2: torch.export.Dim.AUTO, 3: torch.export.Dim.AUTO}
    program = torch.export.export(
        Guarded(), (torch.zeros(2, 3, 8, 8),), dynamic_shapes={"image": image}
    )
    path = tmp_path / "net.pt2"
    torch.export.save(program, path)
    with zipfile.ZipFile(path) as archive:
        assert json.loads(archive.read(GRAPH))["guards_code"]
    check_exported(path)


@pytest.mark.parametrize(
    "text",
    [
        "Symbol('s31', positive=True, integer=True)",
        "Mul(Integer(2), Symbol('s0', positive=True, integer=True))",
        "Max(Integer(1), Add(Symbol('s0', integer=True), Integer(-2)))",
        "L['x'].size()[3] >= 3",
        "1 + (L['x'].size()[2] // 2) <= 2*L['x'].size()[2]",
    ],
)
def test_torch_expressions_are_plain(text):
    assert is_plain_expression(text)


@pytest.mark.parametrize(
    "text",
    [
        EVIL,
        "().__class__.__base__",
        "L['x'].__class__",
        "L['x'].size.__globals__",
        "L.size()",
        "Symbol(__import__('os'))",
        "Symbol('s0', commutative=exit())",
        "Integer('1+1')",
        "Add('exit()')",
        "eval('1')",
        "[x for x in (1,)]",
        "lambda: 1",
        "f'{exit()}'",
        "s0 if s1 else s2",
        "9**9**9",
        "(" * 5000,
        "1 " * 20_000,
        "",
    ],
)
def test_other_expressions_are_not_plain(text):
    assert not is_plain_expression(text)


@given(st.text(max_size=60))
def test_any_text_is_classified(text):
    assert is_plain_expression(text) in {True, False}
