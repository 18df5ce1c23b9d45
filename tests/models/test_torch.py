import os
import pickle
import sys
import textwrap

import pytest
import torch
from safetensors.torch import save_file

from ovtool.core.errors import InputError, MissingDependencyError
from ovtool.models.convert import convert, default_name
from ovtool.models.options import SourceOptions
from ovtool.models.torch_archive import UnsafeFileError
from tests.models.source_models import Net, exported

NETS = """
    import sys, warnings
    import torch

    print("importing")

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.conv = torch.nn.Conv2d(3, 4, 3)
            self.out = torch.nn.Linear(4, 4)
            self.drop = torch.nn.Dropout(0.9)
        def forward(self, image):
            warnings.warn("watch out")
            return self.drop(self.out(torch.relu(self.conv(image)).mean((2, 3))))

    class Two(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.table = torch.nn.Embedding(9, 4)
        def forward(self, ids, mask=None, scale=None):
            return {"one": self.table(ids) * scale, "two": ids + 1}

    class Rest(torch.nn.Module):
        def forward(self, *images):
            return images[0] + images[1], [images[0] * 2]

    class Fixed(torch.nn.Module):
        def forward(self, x):
            return x.reshape(1, -1) * 2

    class Broken(torch.nn.Module):
        def forward(self, x):
            raise KeyError("no such layer")

    class Unknown(torch.nn.Module):
        def forward(self, x):
            return torch.special.zeta(x, x + 2)

    def net(): return Net()
    def with_example(): return Net(), torch.zeros(1, 3, 8, 8)
    def two():
        ids = torch.zeros(1, 5, dtype=torch.int64)
        return Two(), {"scale": torch.ones(1, 5, 4), "ids": ids}
    def rest(): return Rest(), (torch.zeros(1, 6), torch.zeros(1, 6))
    def fixed(): return Fixed(), torch.zeros(1, 2, 3)
    def broken(): return Broken(), torch.zeros(1, 3)
    def unknown(): return Unknown(), torch.zeros(1, 3)
    def raises(): raise ValueError("boom\\nand more")
    def leaves(): sys.exit(3)
    def number(): return 5
    def odd(): return Net(), "an example"
    def needs():
        import a_package_that_is_not_there
    constant = 3
"""


@pytest.fixture
def nets(tmp_path, monkeypatch):
    """A folder to work in, with the user's own nets.py in it."""
    (tmp_path / "nets.py").write_text(textwrap.dedent(NETS))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "nets", raising=False)
    yield tmp_path
    sys.modules.pop("nets", None)


def make(reference, out, **options):
    reference = str(reference)
    return convert(
        reference, out=out, name=default_name(reference), options=SourceOptions(**options)
    )


def test_function_of_user_code_is_converted(nets, capfd):
    path = list(sys.path)
    record = make("nets:with_example", nets / "out").record
    assert (record.name, record.batch, record.source.kind) == ("with_example", "dynamic", "torch")
    [port] = record.inputs
    assert (port.name, port.shape, port.layout) == ("image", (-1, 3, 8, 8), "NCHW")
    assert record.check.against.startswith("torch 2.")
    assert record.check.max_abs_difference < 1e-5
    assert record.check.inputs.endswith("image 1x3x8x8; image 2x3x8x8")
    assert capfd.readouterr() == ("", "")
    assert sys.path == path


def test_example_is_built_from_requested_shapes(nets):
    record = make("nets:net", nets / "out", input_shapes={"image": (-1, 3, -1, -1)}).record
    assert record.inputs[0].shape == (-1, 3, -1, -1)
    with pytest.raises(InputError, match="nets:net") as raised:
        make("nets:net", nets / "none")
    assert "--shape image=" in raised.value.hint
    with pytest.raises(InputError, match="'imgae'") as raised:
        make("nets:net", nets / "none", input_shapes={"imgae": (1, 3, 8, 8)})
    assert "image" in raised.value.hint
    options = {"input_dtypes": {"image": "q7"}, "input_shapes": {"image": (1, 3, 8, 8)}}
    with pytest.raises(InputError, match="q7"):
        make("nets:net", nets / "none", **options)


def test_inputs_by_name_and_outputs_by_name(nets):
    record = make("nets:two", nets / "out").record
    assert [(p.name, p.shape, p.dtype) for p in record.inputs] == [
        ("ids", (-1, 5), "i64"),
        ("scale", (-1, 5, 4), "f32"),
    ]
    assert [p.name for p in record.outputs] == ["one", "two"]
    assert record.check.max_abs_difference == 0


def test_variadic_inputs_and_nested_outputs(nets):
    record = make("nets:rest", nets / "out").record
    assert [p.name for p in record.inputs] == ["input_0", "input_1"]
    assert [p.name for p in record.outputs] == ["output_0", "output_1"]


def test_hard_coded_batch_stays_static(nets):
    record = make("nets:fixed", nets / "out").record
    assert record.batch == "static"
    assert record.inputs[0].shape == (1, 2, 3)


@pytest.mark.parametrize(
    ("reference", "value"),
    [
        ("nets:nets", "'nets'"),
        ("nets:constant", "'constant'"),
        ("no_such_nets:net", "'no_such_nets'"),
        ("nets:raises", "ValueError: boom and more"),
        ("nets:leaves", "SystemExit"),
        ("nets:number", "int"),
        ("nets:odd", "'image' .*str"),
        ("nets:broken", "nets:broken: .*no such layer"),
        ("nets:unknown", "nets:unknown: .*zeta"),
    ],
)
def test_invalid_function_raises_one_line(nets, reference, value):
    with pytest.raises(InputError, match=value) as raised:
        make(reference, nets / "out")
    assert "\n" not in str(raised.value)
    assert not (nets / "out").exists()


def test_missing_package_of_user_code_is_named(nets):
    with pytest.raises(MissingDependencyError, match="a_package_that_is_not_there"):
        make("nets:needs", nets / "out")


@pytest.mark.parametrize("name", ["w.safetensors", "w.pt", "old.pt"])
def test_weights_load_from_every_format(nets, name):
    torch.manual_seed(1)
    state = {key: torch.randn_like(value) for key, value in Net().state_dict().items()}
    if name == "w.safetensors":
        save_file(state, name)
    else:
        torch.save(state, name, _use_new_zipfile_serialization=name != "old.pt")
    plain = make("nets:with_example", nets / "plain").record
    loaded = make("nets:with_example", nets / "loaded", weights=name).record
    assert loaded.source.sha256 != plain.source.sha256
    assert loaded.sha256 != plain.sha256
    assert loaded.check.max_abs_difference < 1e-4


def test_mismatched_weights_raise_with_the_keys(nets):
    state = Net().state_dict()
    state["more"] = state.pop("conv.bias")
    torch.save(state, "w.pt")
    with pytest.raises(InputError, match=r"conv.bias.*more"):
        make("nets:with_example", nets / "out", weights="w.pt")
    state = Net().state_dict() | {"conv.bias": torch.zeros(7)}
    torch.save(state, "w.pt")
    with pytest.raises(InputError, match=r"conv\.bias"):
        make("nets:with_example", nets / "out", weights="w.pt")
    (nets / "w.safetensors").write_bytes(b"\xff" * 50)
    with pytest.raises(InputError, match=r"w\.safetensors"):
        make("nets:with_example", nets / "out", weights="w.safetensors")
    with pytest.raises(InputError, match=r"none\.pt"):
        make("nets:with_example", nets / "out", weights="none.pt")


class Hostile:
    """Makes a folder called ``ran`` when it is unpickled."""

    def __reduce__(self):
        return (os.mkdir, ("ran",))


@pytest.mark.parametrize("kind", ["module", "pickle", "in a state dict", "old format", "weights"])
def test_pickles_raise_without_running_code(nets, kind):
    hostile = torch.nn.Linear(2, 2) if kind == "module" else Hostile()
    if kind == "pickle":
        (nets / "m.pkl").write_bytes(pickle.dumps(hostile))
    elif kind == "in a state dict":
        torch.save({"conv.weight": hostile}, "m.pkl")
    else:
        torch.save(hostile, "m.pkl", _use_new_zipfile_serialization=kind != "old format")
    options = {"weights": "m.pkl"} if kind == "weights" else {}
    with pytest.raises(UnsafeFileError) as raised:
        make("nets:with_example" if options else "m.pkl", nets / "out", **options)
    assert "--trust" in raised.value.hint
    assert not (nets / "ran").exists()


def test_trusted_module_loads(nets):
    torch.save(torch.nn.Linear(3, 2), "m.pt")
    record = make("m.pt", nets / "out", trust=True, input_shapes={"input": (1, 3)}).record
    assert record.inputs[0].shape == (-1, 3)
    torch.save(torch.nn.Linear(3, 2).state_dict(), "state.pt")
    for trust in (True, False):
        with pytest.raises(InputError, match=r"state\.pt") as raised:
            make("state.pt", nets / "none", trust=trust)
    assert "module:function --weights state.pt" in raised.value.hint
    torch.save(Hostile(), "hostile.pt")
    with pytest.raises(InputError, match=r"hostile\.pt"):
        make("hostile.pt", nets / "none", trust=True)
    assert (nets / "ran").exists()


@pytest.mark.filterwarnings(
    # torch.jit deprecates itself in favour of torch.export
    "ignore:`torch.jit:DeprecationWarning"
)
def test_torchscript_requires_trust(nets):
    torch.jit.trace(torch.nn.Linear(3, 2), torch.zeros(1, 3)).save("m.pt")
    with pytest.raises(UnsafeFileError):
        make("m.pt", nets / "out")
    record = make("m.pt", nets / "out", trust=True, input_shapes={"input": (1, 3)}).record
    assert record.check.max_abs_difference < 1e-6


@pytest.mark.parametrize("content", [b"hello\n" * 9, b"PK\x03\x04" + bytes(90), b"\x80\x02}"])
def test_invalid_torch_file_raises(nets, content):
    (nets / "m.pt").write_bytes(content)
    with pytest.raises(InputError, match=r"m\.pt"):
        make("m.pt", nets / "out")


def test_exported_program_keeps_dynamic_shapes(nets):
    record = make(exported(nets / "m.pt2"), nets / "out").record
    assert record.source.kind == "torch-export"
    assert record.inputs[0].shape == (-1, 3, 8, 8)
    assert record.check.against.endswith("the exported program")
    assert record.check.max_abs_difference < 1e-5
    assert "image 2x3x8x8" in record.check.inputs


def test_exported_program_with_static_batch_becomes_dynamic(nets):
    record = make(exported(nets / "m.pt2", dynamic=False), nets / "out").record
    assert record.batch == "dynamic"
    assert "image 2x3x8x8" in record.check.inputs
