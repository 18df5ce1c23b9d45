"""Target ``triton``: a model repository of Triton Inference Server, for its OpenVINO backend.

The backend passes few properties to OpenVINO and ignores others without a word (``src/openvino.cc``
of github.com/triton-inference-server/openvino_backend, commit db19304): a row that needs others is
refused.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ovtool.core.errors import InputError
from ovtool.core.third_party import reason
from ovtool.deploy.targets.target import Rung, Target
from ovtool.deploy.texts import health_check, quoted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ovtool.deploy.manifest import BundlePort, Manifest
    from ovtool.deploy.python_program import ProgramRun

PASSED = frozenset({"INFERENCE_NUM_THREADS", "NUM_STREAMS", "PERFORMANCE_HINT"})
"""Properties that the backend passes to OpenVINO under their names."""
_RELEASE = "26.08"
"""Release of Triton, as year and month."""
_PRECISION = "INFERENCE_PRECISION_HINT"
TYPES = {
    "boolean": "BOOL", "f16": "FP16", "f32": "FP32", "i8": "INT8", "i16": "INT16", "i32": "INT32",
    "i64": "INT64", "u8": "UINT8", "u16": "UINT16", "u32": "UINT32", "u64": "UINT64",
}  # fmt: skip
"""Types that the backend supports."""


class TritonTarget(Target):
    """A model repository with ``config.pbtxt``."""

    name: ClassVar[str] = "triton"

    def model_folder(self, package: str, *, text: bool) -> str:
        """Return the folder of the first version."""
        del text
        return f"models/{package}/1"

    def texts(self, manifest: Manifest) -> dict[str, str]:
        """Return the configuration of the model."""
        return {f"models/{manifest.package}/config.pbtxt": model_config(manifest)}

    def about(self, manifest: Manifest) -> str:
        """Return how to start the server."""
        return f"""A model repository of Triton Inference Server with its OpenVINO backend.

```
{self.command(manifest)}
```

The server then answers at `http://localhost:8000/v2/models/{manifest.package}`.
"""

    def dockerfile(self, manifest: Manifest) -> str:
        """Return an image of the server with the models; the release is an argument."""
        del manifest
        return f"""ARG TRITON={_RELEASE}
FROM nvcr.io/nvidia/tritonserver:${{TRITON}}-py3
COPY models /models
USER 1000:1000
EXPOSE 8000 8001 8002
{health_check(8000)}
CMD ["tritonserver", "--model-repository=/models"]
"""

    def command(self, manifest: Manifest) -> str:
        """Return how to start the server."""
        del manifest
        return "tritonserver --model-repository models"

    def further_rungs(self, folder: Path, manifest: Manifest, run: ProgramRun) -> Iterator[Rung]:
        """Yield the rungs of the configuration and of the server."""
        del run
        path = folder / "models" / manifest.package / "config.pbtxt"
        yield parse_config(path.read_text(encoding="utf-8"))
        yield Rung("server", None, "ovtool does not start Triton Inference Server")


def model_config(manifest: Manifest) -> str:
    """Return the configuration of the model.

    Raises:
        InputError: The backend does not support a property or a type.
    """
    ports = [
        _port_text(kind, port)
        for kind, several in (("input", manifest.inputs), ("output", manifest.outputs))
        for port in several
    ]
    parameters = {"TARGET_DEVICE": manifest.trial.device, **backend_parameters(manifest.properties)}
    lines = [
        f"name: {quoted(manifest.package)}",
        'backend: "openvino"',
        "max_batch_size: 0",
        *ports,
        f"instance_group {{ count: {manifest.requests} kind: KIND_CPU }}",
        *(
            f"parameters {{ key: {quoted(key)} value {{ string_value: {quoted(value)} }} }}"
            for key, value in parameters.items()
        ),
    ]
    return "\n".join(lines) + "\n"


def backend_parameters(properties: dict[str, str]) -> dict[str, str]:
    """Return properties as parameters of the backend.

    Raises:
        InputError: The backend has none for a property.
    """
    parameters = {}
    for name, value in properties.items():
        if name == _PRECISION and value == "bf16":
            parameters["HINT_BF16"] = "YES"
        elif name in PASSED:
            parameters[name] = value
        else:
            raise InputError(
                f"Triton's OpenVINO backend does not set {name}={value}",
                "choose a row without it, such as one in the default precision",
            )
    return parameters


def _port_text(kind: str, port: BundlePort) -> str:
    if port.dtype not in TYPES:
        raise InputError(f"Triton's OpenVINO backend has no type {port.dtype}, of {port.name}")
    sizes = ", ".join(map(str, port.shape))
    name, dtype = quoted(port.name), f"TYPE_{TYPES[port.dtype]}"
    return f"{kind} {{ name: {name} data_type: {dtype} dims: [ {sizes} ] }}"


def parse_config(text: str) -> Rung:
    """Return the rung of a configuration that the messages of ``tritonclient`` parse.

    Raises:
        InputError: They do not parse it.
    """
    messages = _load_messages()
    if messages is None:
        return Rung("configuration", None, "tritonclient and protobuf are not installed")
    from google.protobuf import text_format

    try:
        parsed = text_format.Parse(text, messages.ModelConfig())
    except text_format.ParseError as error:
        raise InputError(f"Triton does not read config.pbtxt: {reason(error)}") from error
    count = len(parsed.parameters)
    return Rung("configuration", True, f"tritonclient parses it, {count} parameters")


def _load_messages() -> Any:
    """Return the module of messages of tritonclient, without its clients; None if missing."""
    found = importlib.util.find_spec("tritonclient")
    if found is None or not importlib.util.find_spec("google.protobuf"):
        return None
    paths = (Path(p, "grpc", "model_config_pb2.py") for p in found.submodule_search_locations or ())
    path = next((p for p in paths if p.is_file()), None)
    spec = path and importlib.util.spec_from_file_location("ovtool_model_config_pb2", path)
    if not spec or spec.loader is None:
        return None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
