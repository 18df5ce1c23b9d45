"""Text generators: export to an OpenVINO graph whose cache is state, and step-by-step runs."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ovtool.core import steps
from ovtool.core.companions import BEAM, IDS, MASK, POSITIONS
from ovtool.core.errors import InputError
from ovtool.core.third_party import captured, reason
from ovtool.graph.reference_run import EXACT_PROPERTIES, read_tensor

if TYPE_CHECKING:
    from collections.abc import Mapping

    import openvino as ov
    from numpy.typing import NDArray

    from ovtool.models.source import Array

LOGITS = "logits"
"""Name of the output, as openvino-genai expects it."""
_BATCH_AXIS, _LENGTH_AXIS = 0, 2


def is_decoder(model: ov.Model) -> bool:
    """Whether a graph is a text generator with its cache as state."""
    names = {name for port in model.inputs for name in port.get_names()}
    return {IDS, BEAM} <= names and bool(model.get_variables())


def export_decoder(model: Any, reference: str) -> ov.Model:
    """Export a text generator of transformers: tokens in, logits out, the cache is state.

    The graph takes any number of tokens [batch, length] after any number of earlier ones, so one
    graph reads the prompt and generates.  ``beam_idx`` [batch] selects the sequences to continue.

    Raises:
        InputError: The exporter of transformers does not support the architecture.
    """
    import torch
    from transformers import GenerationConfig
    from transformers.exporters.exporter_dynamo import get_auto_dynamic_shapes
    from transformers.exporters.exporter_openvino import OpenVINOConfig, OpenVINOExporter
    from transformers.exporters.utils import decompose_for_generation

    ids = torch.arange(10).reshape(2, 5) % model.config.get_text_config().vocab_size
    mask = torch.ones_like(ids)
    mask[0, :2] = 0  # without padding, the graph would have no mask
    greedy = GenerationConfig(do_sample=False, use_cache=True, pad_token_id=0)
    try:
        stages = decompose_for_generation(
            model, {IDS: ids, MASK: mask}, generation_config=greedy, multi_token_decode=True
        )
        stage, inputs = stages["decode"]
        shapes = {
            name: _open_shapes(value)
            for name, value in get_auto_dynamic_shapes(inputs).items()
            if value is not None or inputs[name] is None
        }
        config = OpenVINOConfig(dynamic=True, dynamic_shapes=shapes)
        exported: ov.Model = OpenVINOExporter().export_program(stage, inputs, config)[0]
    except Exception as error:  # tracing can raise anything
        kind = model.config.model_type
        raise InputError(
            f"transformers cannot export the architecture {kind!r} of {reference}:"
            f" {reason(_first_cause(error))}",
            "convert it with another tool, and give ovtool the folder with openvino_model.xml",
        ) from error
    if not is_decoder(exported):
        raise InputError(
            f"the export of {reference} ({model.config.model_type}) keeps no cache between tokens",
            "convert it with another tool, and give ovtool the folder with openvino_model.xml",
        )
    # Whoever runs the model decides its precision: an f32 graph would run in f32 everywhere.
    del exported.rt_info["runtime_options"]
    return exported


def _first_cause(error: BaseException) -> BaseException:
    """Return the error that the others were raised from, which only name the stage."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def _open_shapes(shapes: Any) -> Any:
    """Return only batch and length of the tensors of a cache as open dimensions: it is faster."""
    if not isinstance(shapes, list):
        return shapes
    return [
        {axis: kind for axis, kind in each.items() if axis in (_BATCH_AXIS, _LENGTH_AXIS)}
        if isinstance(each, dict) and len(each) == 4
        else each
        for each in shapes
    ]


class Decoder(Protocol):
    """A text generator that keeps its cache between steps."""

    def reset(self) -> None:
        """Forget all tokens."""

    def step(self, tokens: Array, mask: Array, positions: Array, beams: Array) -> NDArray[Any]:
        """Return the logits [batch, length, vocabulary] of further tokens [batch, length].

        ``mask`` [batch, all tokens so far] has zeros for padding; ``positions`` is [batch, length];
        ``beams`` [batch] are the sequences that are continued.
        """


@dataclass(slots=True)
class TorchDecoder:
    """A model of transformers in f32."""

    model: Any
    _cache: Any = field(default=None, init=False)

    def reset(self) -> None:
        """See :class:`Decoder`."""
        self._cache = None

    def step(self, tokens: Array, mask: Array, positions: Array, beams: Array) -> NDArray[Any]:
        """See :class:`Decoder`."""
        import torch

        given: dict[str, Any] = {
            IDS: torch.from_numpy(tokens),
            MASK: torch.from_numpy(mask),
            POSITIONS: torch.from_numpy(positions),
        }
        known = inspect.signature(self.model.forward).parameters
        given = {name: value for name, value in given.items() if name in known}
        if self._cache is not None:
            self._cache.reorder_cache(torch.from_numpy(beams.astype(np.int64)))
        with torch.no_grad(), captured("torch"):
            output = self.model(
                **given, past_key_values=self._cache, use_cache=True, return_dict=True
            )
        self._cache = output.past_key_values
        logits: NDArray[Any] = output.logits.float().numpy(force=True)
        return logits


@dataclass(slots=True)
class GraphDecoder:
    """A graph with state; by default exactly on the CPU: f32, nothing quantized that it does not.

    Args:
        model: The graph.
        device: Where it runs.
        properties: OpenVINO properties of the compiled graph.
    """

    model: ov.Model
    device: str = "CPU"
    properties: Mapping[str, str] = field(default_factory=EXACT_PROPERTIES.copy)
    _batch: int = field(default=0, init=False)
    _compiled: Any = field(default=None, init=False)
    _request: Any = field(default=None, init=False)

    def reset(self) -> None:
        """See :class:`Decoder`.

        Raises:
            InputError: The graph does not compile.
        """
        import openvino as ov

        if self._request is None:
            try:
                with steps.limited(f"compiling for {self.device}"):
                    self._compiled = ov.Core().compile_model(
                        self.model, self.device, dict(self.properties)
                    )
            except RuntimeError as error:
                raise InputError(f"the model does not compile: {reason(error)}") from error
            self._request = self._compiled.create_infer_request()
        self._request.reset_state()
        if self._batch:
            # The CPU plugin may keep the shape of a state of the last run if the batch is the same.
            other = np.zeros((self._batch + 1, 1), np.int64)
            self.step(other, other + 1, other, np.arange(len(other), dtype=np.int32))
            self._request.reset_state()
            self._batch = 0

    @property
    def executed_precision(self) -> str:
        """The inference precision that the compiled graph states."""
        if self._compiled is None:
            self.reset()
        return str(self._compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name())

    def step(self, tokens: Array, mask: Array, positions: Array, beams: Array) -> NDArray[Any]:
        """See :class:`Decoder`."""
        given = {IDS: tokens, MASK: mask, POSITIONS: positions, BEAM: beams}
        names = [port.get_any_name() for port in self.model.inputs]
        if unknown := [name for name in names if name not in given]:
            raise InputError(f"a text generator with the input {unknown[0]!r} is not supported")
        try:
            with steps.limited(f"running on {self.device}"):
                self._request.start_async({name: given[name] for name in names}, share_inputs=False)
                self._request.wait()
        except RuntimeError as error:
            raise InputError(f"the model does not run on {self.device}: {reason(error)}") from error
        self._batch = len(tokens)
        return read_tensor(self._request.get_tensor(LOGITS))
