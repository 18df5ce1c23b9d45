"""Bundles for servers and C++: their configurations, their rungs, and changed ones."""

import ast
import json
import random
import shutil
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace

import jsonschema
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovtool.core.errors import InputError, OvtoolError
from ovtool.core.trial import Generation
from ovtool.deploy.bundle_files import check_files
from ovtool.deploy.deploy import _check_target
from ovtool.deploy.manifest import BundlePort, read_manifest
from ovtool.deploy.python_program import ProgramRun
from ovtool.deploy.rendering import binary_paths, render_texts
from ovtool.deploy.stored_samples import read_arrays, write_arrays
from ovtool.deploy.targets import TARGETS, cpp, find_target, ovms, triton
from ovtool.deploy.texts import health_check, quoted
from ovtool.deploy.verification import verify_bundle
from tests.helpers.bundles import read_document, retarget, seal, write_document

OTHERS = sorted(set(TARGETS) - {"python"})
RUNGS = ["files", "code", "versions", "device", "properties", "program", "outputs"]
FURTHER = {"ovms": ["server"], "triton": ["configuration", "server"], "cpp": ["build"]}

OVMS_CONFIG = {
    "type": "object",
    "required": ["model_config_list"],
    "additionalProperties": False,
    "properties": {
        "model_config_list": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["config"],
                "additionalProperties": False,
                "properties": {
                    "config": {
                        "type": "object",
                        "required": ["name", "base_path"],
                        "additionalProperties": False,
                        "properties": {
                            "name": {"type": "string"},
                            "base_path": {"type": "string"},
                            "target_device": {"type": "string"},
                            "nireq": {"type": "integer", "minimum": 0},
                            "shape": {
                                "type": "object",
                                "additionalProperties": {
                                    "type": "string", "pattern": r"^\(-?\d+(,-?\d+)*\)$",
                                },
                            },
                            "plugin_config": {
                                "type": "object",
                                "additionalProperties": {"type": ["string", "boolean", "number"]},
                            },
                        },
                    }
                },
            },
        },
        "mediapipe_config_list": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["name"],
                "additionalProperties": False,
                "properties": {"name": {"type": "string"}, "base_path": {"type": "string"}},
            },
        },
    },
}  # fmt: skip
"""The fields of the server's documentation that a bundle uses."""


@pytest.fixture(scope="module")
def bundles(deployed, tmp_path_factory):
    """A bundle of each target, of the same row."""
    folder = tmp_path_factory.mktemp("targets")
    return {name: retarget(deployed.bundle, folder / name, name) for name in OTHERS}


@pytest.fixture
def bundle(bundles, request, tmp_path):
    return shutil.copytree(bundles[request.param], tmp_path / "copy")


each = pytest.mark.parametrize("bundle", OTHERS, indirect=True)


def refuse(folder):
    with pytest.raises(InputError) as caught:
        check_files(folder)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.slow
@each
def test_every_rung_that_this_machine_has_is_reached(bundle, local_workers):
    target = read_manifest(bundle).target
    if target == "cpp" and not cpp.has_tools():
        pytest.skip("needs CMake and a C++ compiler")
    rungs = {rung.name: rung.reached for rung in verify_bundle(bundle, latency=False).rungs}
    assert list(rungs) == [*RUNGS, *FURTHER[target]]
    assert all(rungs[name] for name in RUNGS)
    unchecked = {name for name, reached in rungs.items() if reached is None}
    assert unchecked - {"configuration"} == set(FURTHER[target]) & {"server"}


@each
def test_a_bundle_is_its_files(bundle):
    assert check_files(bundle).target in OTHERS


@pytest.mark.slow
@each
def test_flipped_bits_missing_and_other_lengths(bundle):
    """Three bits, three lengths and the absence of each file, all refused."""
    rng, count = random.Random(5), 0
    for path in sorted(p for p in bundle.rglob("*") if p.is_file()):
        content = path.read_bytes()
        changes = [content[:-1], content + b"\n", b""]
        for place in (0, len(content) - 1, rng.randrange(len(content))):
            flipped = bytearray(content)
            flipped[place] ^= 1 << rng.randrange(8)
            changes.append(bytes(flipped))
        for changed in changes:
            path.write_bytes(changed)
            refuse(bundle)
            count += 1
        path.unlink()
        refuse(bundle)
        path.write_bytes(content)
    check_files(bundle)
    assert count >= 6 * 8


@each
def test_further_files_and_other_fields(bundle):
    for name in ("build/x", "models/x", "extra", "samples/x.npz", "models/tiny_net/2/model.xml"):
        path = bundle / name
        before = {p for p in (path.parent, *path.parents) if p.exists()}
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
        refuse(bundle)
        path.unlink()
        for made in (path.parent, *path.parent.parents):
            if made not in before and made != bundle:
                made.rmdir()
    document = read_document(bundle)
    for changes in ({"requests": 7}, {"target": "python"}, {"properties": {"NUM_STREAMS": "3"}}):
        write_document(bundle, document | changes)
        refuse(bundle)


@pytest.mark.slow
@pytest.mark.parametrize(
    "properties",
    [{"PERFORMANCE_HNT": "LATENCY"}, {"PERFORMANCE_HINT": "LATENZ"}, {"NUM_STREAMS": "many"}],
    ids=str,
)
@each
def test_a_property_that_the_device_does_not_know(bundle, properties, local_workers):

    def seal_and_verify():
        seal(bundle, properties=properties)  # the texts of Triton are not written at all
        verify_bundle(bundle, latency=False)

    with pytest.raises(OvtoolError) as caught:
        seal_and_verify()
    assert len(str(caught.value).splitlines()) == 1


def test_the_configuration_of_the_model_server_is_that_of_the_row(bundles):
    manifest = read_manifest(bundles["ovms"])
    config = json.loads((bundles["ovms"] / "config.json").read_text())
    jsonschema.Draft7Validator(OVMS_CONFIG).validate(config)
    (model,) = (entry["config"] for entry in config["model_config_list"])
    assert (bundles["ovms"] / model["base_path"] / "1/model.xml").is_file()
    assert model["plugin_config"] == manifest.properties == {"PERFORMANCE_HINT": "LATENCY"}
    assert (model["nireq"], model["shape"]) == (manifest.requests, {"x": "(2,16,16,3)"})


def triton_messages():
    """The fields of Triton's ModelConfig that a bundle uses, as messages of protobuf."""
    descriptors = pytest.importorskip("google.protobuf.descriptor_pb2")
    from google.protobuf import descriptor_pool, message_factory

    field = descriptors.FieldDescriptorProto
    types = {"string": field.TYPE_STRING, "int": field.TYPE_INT64, "enum": field.TYPE_ENUM}
    file = descriptors.FileDescriptorProto(name="config.proto", package="t", syntax="proto3")
    for name, values in {
        "Kind": ["KIND_AUTO", "KIND_GPU", "KIND_CPU"],
        "Type": ["TYPE_INVALID", *(f"TYPE_{t}" for t in triton.TYPES.values())],
    }.items():
        enum = file.enum_type.add(name=name)
        for number, value in enumerate(values):
            enum.value.add(name=value, number=number)

    def message(title, **fields):
        made = file.message_type.add(name=title)
        for number, (key, kind) in enumerate(fields.items(), 1):
            base, _, repeated = kind.partition("*")
            label = field.LABEL_REPEATED if repeated else field.LABEL_OPTIONAL
            plain = types.get(base) or (types["enum"] if base in ("Kind", "Type") else None)
            made.field.add(
                name=key, number=number, label=label, type=plain or field.TYPE_MESSAGE,
                type_name=None if base in types else f".t.{base}",
            )  # fmt: skip

    message("Port", name="string", data_type="Type", dims="int*+")
    message("Group", count="int", kind="Kind")
    message("Value", string_value="string")
    message("Pair", key="string", value="Value")
    message(
        "Config", name="string", backend="string", max_batch_size="int", input="Port*+",
        output="Port*+", instance_group="Group*+", parameters="Pair*+",
    )  # fmt: skip
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("t.Config"))


def test_the_configuration_of_triton_is_that_of_the_row(bundles):
    make = triton_messages()
    from google.protobuf import text_format

    text = (bundles["triton"] / "models/tiny_net/config.pbtxt").read_text()
    parsed = text_format.Parse(text, make())
    assert (parsed.name, parsed.backend, parsed.max_batch_size) == ("tiny_net", "openvino", 0)
    assert {p.key: p.value.string_value for p in parsed.parameters} == {
        "TARGET_DEVICE": "CPU", "PERFORMANCE_HINT": "LATENCY",
    }  # fmt: skip
    (port,) = parsed.input
    assert (port.name, list(port.dims)) == ("x", [2, 16, 16, 3])
    with pytest.raises(text_format.ParseError):
        text_format.Parse(text.replace("backend", "back_end"), make())


def test_triton_parses_or_says_that_it_was_not_checked(bundles):
    text = (bundles["triton"] / "models/tiny_net/config.pbtxt").read_text()
    assert triton.parse_config(text).reached is not False
    if triton._load_messages() is None:
        pytest.skip("needs tritonclient, which is not among the pinned packages")
    with pytest.raises(InputError):
        triton.parse_config(text.replace("max_batch_size", "max_batch_sise"))


def test_properties_that_triton_would_ignore_are_refused():
    known = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "bf16"}
    assert triton.backend_parameters(known) == {"PERFORMANCE_HINT": "LATENCY", "HINT_BF16": "YES"}
    for wrong in ({"INFERENCE_PRECISION_HINT": "f32"}, {"ENABLE_CPU_PINNING": "YES"}):
        with pytest.raises(InputError, match=next(iter(wrong))):
            triton.backend_parameters(wrong)


def test_the_graph_of_a_text_server_has_the_settings_of_the_row(deployed):
    base = read_manifest(deployed.bundle)
    manifest = base.model_copy(update={"properties": {"A": 'x"\\'}, "requests": 300})
    graph = ovms.text_graph(manifest)
    line = next(t for t in graph.splitlines() if "plugin_config" in t)
    literal = line.partition("plugin_config: ")[2]
    assert json.loads(ast.literal_eval(literal)) == {"A": 'x"\\'}
    assert "max_num_seqs: 300" in graph


@pytest.mark.parametrize("name", ["triton", "cpp"])
def test_language_models_have_their_targets(name):
    trial = SimpleNamespace(generation=Generation(8, 8), device="CPU")
    plan = SimpleNamespace(job=SimpleNamespace(trial=trial), variant=SimpleNamespace(name="words"))
    with pytest.raises(InputError, match="words"):
        _check_target(find_target(name), plan)
    _check_target(find_target("ovms"), plan)
    trial.device = "NPU"
    with pytest.raises(InputError, match="NPU"):
        _check_target(find_target("python"), plan)


def test_every_target_has_its_name():
    assert all(target.name == name for name, target in TARGETS.items())
    with pytest.raises(InputError, match="tritn"):
        find_target("tritn")


@given(st.text())
def test_a_literal_is_its_text_and_cannot_be_left(text):
    literal = quoted(text)
    assert ast.literal_eval(f"b{literal}") == text.encode()
    assert literal.isascii()
    assert literal.isprintable()
    assert not set(literal[1:-1]) & {'"', "?", "\n"}


@given(st.integers(1, 5), st.integers(1, 7), st.integers(0, 2), st.integers(1, 3))
def test_samples_are_the_rows_of_their_requests(batch, count, axis, repeated):
    """With an output that has several rows for each sample, too."""
    samples = np.arange(count * 2 * repeated).reshape(count, repeated, 2)
    if repeated == 1:
        samples = np.arange(count * 6).reshape(count, 2, 3)
    requests = cpp._requests(samples, batch, axis)
    assert requests.shape[1 + axis] == batch
    rows = cpp._rows(requests, batch, axis, count)
    assert np.array_equal(rows, samples)


def test_an_input_without_a_batch_is_the_same_for_all_samples():
    samples = np.arange(6).reshape(6, 1)
    assert cpp._requests(samples, 1, None).tolist() == samples.tolist()
    assert cpp._rows(samples[:2], 3, None, 5).ravel().tolist() == [0, 0, 0, 1, 1]


def test_open_dimensions_have_no_program(bundles):
    manifest = read_manifest(bundles["cpp"])
    port = BundlePort(name="x", shape=(2, -1), data_shape=(2, 3), dtype="f32", batch_axis=0)
    with pytest.raises(InputError, match="open"):
        TARGETS["cpp"].texts(manifest.model_copy(update={"inputs": (port,)}))


@pytest.mark.parametrize(
    "printed", ["", "latency_ms fast 3", "output 0 f99 1\nlatency_ms 1 2", "output 0", "latency_ms"]
)
def test_a_program_that_writes_no_report(printed):
    with pytest.raises(InputError):
        cpp._parse(printed)


def test_the_report_of_the_program():
    printed = "output 0 f32 2 10\nlatency_ms 1.5 20\nproperty PERFORMANCE_HINT LATENCY\n"
    assert cpp._parse(printed) == {
        "outputs": [("float32", [2, 10])], "latency_ms": (1.5, 20),
        "properties": {"PERFORMANCE_HINT": "LATENCY"},
    }  # fmt: skip


def parse_dockerfile(text):
    """Return the instructions of a Dockerfile: its keyword and its arguments."""
    lines = text.replace("\\\n", " ").splitlines()
    split = (line.partition(" ")[::2] for line in lines if line and not line.startswith("#"))
    return [(keyword, rest.strip()) for keyword, rest in split]


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_an_image_is_of_pinned_parts_and_does_not_run_as_root(deployed, bundles, name):
    manifest = read_manifest(bundles.get(name, deployed.bundle))
    manifest = manifest.model_copy(update={"docker": True})
    texts = render_texts(manifest)
    present = {p.partition("/")[0] for p in (*texts, *binary_paths(manifest))}
    instructions = parse_dockerfile(texts["Dockerfile"].decode())
    keywords = [keyword for keyword, _ in instructions]
    last = len(keywords) - 1 - keywords[::-1].index("FROM")
    for keyword, rest in instructions:
        if keyword == "FROM":
            image = rest.partition(" ")[0]
            assert not image.endswith(":latest")
            assert ":" in image
        if keyword == "COPY" and not rest.startswith("--from"):
            assert set(rest.split()[:-1]) <= present  # and nothing else of the bundle
        if keyword in ("ENTRYPOINT", "CMD"):
            assert json.loads(rest)
    stage = dict(instructions[last:])
    assert int(stage["USER"].partition(":")[0]) > 0
    _, _, check = stage["HEALTHCHECK"].partition("CMD ")
    assert stage["HEALTHCHECK"] == "NONE" or "/v2/health/ready" in json.loads(check)[2]


def test_an_image_is_not_checked(bundles, tmp_path, monkeypatch):
    folder = shutil.copytree(bundles["ovms"], tmp_path / "copy")
    document = read_document(folder)
    write_document(folder, document | {"docker": True})
    refuse(folder)  # it has no Dockerfile
    (folder / "Dockerfile").touch()
    write_document(
        folder, document | {"docker": True, "files": {**document["files"], "Dockerfile": None}}
    )
    seal(folder)
    arrays = read_arrays(folder / "samples/outputs.npz")

    def run(folder, manifest, device, scratch):
        write_arrays(scratch / "outputs.npz", arrays)
        return ProgramRun(scratch / "outputs.npz", {"properties": dict(manifest.properties)})

    monkeypatch.setattr(TARGETS["ovms"], "run", run)
    rungs = verify_bundle(folder, latency=False).rungs
    assert {r.name for r in rungs if r.reached is None} == {"server", "image"}


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.parametrize(("status", "passes"), [(200, True), (503, False)])
def test_a_health_check_is_that_of_the_server(status, passes):
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status if self.path == "/v2/health/ready" else 404)
            self.end_headers()

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        _, _, check = health_check(server.server_port).partition("CMD ")
        ran = subprocess.run(json.loads(check), check=False)
        thread.join()
    assert (ran.returncode == 0) == passes
