"""Target ``ovms``: the model repository and the configuration of OpenVINO Model Server.

Fields as in the server's ``src/schema.cpp`` and ``src/llm/llm_calculator.proto``, commit 7e4df0c of
github.com/openvinotoolkit/model_server.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, ClassVar

from ovtool.deploy.targets.target import Rung, Target
from ovtool.deploy.texts import health_check, json_text, quoted

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ovtool.deploy.manifest import Manifest
    from ovtool.deploy.python_program import ProgramRun

_LEAST_SEQUENCES = 256
"""Requests that the server schedules together by default."""


class OvmsTarget(Target):
    """A model repository with ``config.json``; of a language model with ``graph.pbtxt``."""

    name: ClassVar[str] = "ovms"
    supports_text: ClassVar[bool] = True

    def model_folder(self, package: str, *, text: bool) -> str:
        """Return the folder of the first version; that of a language model has no versions."""
        return f"models/{package}" if text else f"models/{package}/1"

    def texts(self, manifest: Manifest) -> dict[str, str]:
        """Return the configuration of the server."""
        if manifest.text is None:
            return {"config.json": json_text(model_config(manifest))}
        listed = {"name": manifest.package, "base_path": f"models/{manifest.package}"}
        config = {"model_config_list": [], "mediapipe_config_list": [listed]}
        return {
            "config.json": json_text(config),
            f"models/{manifest.package}/graph.pbtxt": text_graph(manifest),
        }

    def about(self, manifest: Manifest) -> str:
        """Return how to start the server."""
        path = "v3/chat/completions" if manifest.text else f"v2/models/{manifest.package}"
        return f"""A model repository of OpenVINO Model Server.

```
{self.command(manifest)}
```

The server then answers at `http://localhost:8000/{path}`.
"""

    def dockerfile(self, manifest: Manifest) -> str:
        """Return an image of the server with the models; the tag is that of its OpenVINO."""
        version = (manifest.version_of("openvino") or "latest").split(".")
        return f"""FROM openvino/model_server:{".".join(version[:2])}
COPY config.json /workspace/config.json
COPY models /workspace/models
USER 5000:5000
EXPOSE 8000 9000
{health_check(8000)}
ENTRYPOINT ["/ovms/bin/ovms"]
CMD ["--config_path", "/workspace/config.json", "--port", "9000", "--rest_port", "8000"]
"""

    def command(self, manifest: Manifest) -> str:
        """Return how to start the server."""
        del manifest
        return "ovms --config_path config.json --port 9000 --rest_port 8000"

    def further_rungs(self, folder: Path, manifest: Manifest, run: ProgramRun) -> Iterator[Rung]:
        """Yield the rung of the server."""
        del folder, manifest, run
        yield Rung("server", None, "ovtool does not start OpenVINO Model Server")


def model_config(manifest: Manifest) -> dict[str, Any]:
    """Return the configuration of a server with one model."""
    shapes = {p.name: _shape_text(p.shape) for p in manifest.inputs if p.shape}
    config = {
        "name": manifest.package,
        "base_path": f"models/{manifest.package}",
        "target_device": manifest.trial.device,
        "nireq": manifest.requests,
        **({"shape": shapes} if shapes else {}),
        "plugin_config": manifest.properties,
    }
    return {"model_config_list": [{"config": config}]}


def _shape_text(shape: tuple[int, ...]) -> str:
    return f"({','.join(map(str, shape))})"


def text_graph(manifest: Manifest) -> str:
    """Return the graph of a server for a language model, as it was measured: no prefix cache."""
    return f"""input_stream: "HTTP_REQUEST_PAYLOAD:input"
output_stream: "HTTP_RESPONSE_PAYLOAD:output"
node {{
  name: "LLMExecutor"
  calculator: "HttpLLMCalculator"
  input_stream: "LOOPBACK:loopback"
  input_stream: "HTTP_REQUEST_PAYLOAD:input"
  input_side_packet: "LLM_NODE_RESOURCES:llm"
  input_side_packet: "LLM_NODE_EXECUTION_CONTEXTS:llm_ctx"
  output_stream: "LOOPBACK:loopback"
  output_stream: "HTTP_RESPONSE_PAYLOAD:output"
  input_stream_info {{
    tag_index: "LOOPBACK:0"
    back_edge: true
  }}
  node_options {{
    [type.googleapis.com/mediapipe.LLMCalculatorOptions] {{
      models_path: "./"
      device: {quoted(manifest.trial.device)}
      plugin_config: {quoted(json.dumps(manifest.properties))}
      pipeline_type: LM_CB
      max_num_seqs: {max(_LEAST_SEQUENCES, manifest.requests)}
      enable_prefix_caching: false
    }}
  }}
  input_stream_handler {{
    input_stream_handler: "SyncSetInputStreamHandler"
    options {{
      [mediapipe.SyncSetInputStreamHandlerOptions.ext] {{
        sync_set {{
          tag_index: "LOOPBACK:0"
        }}
      }}
    }}
  }}
}}
"""
