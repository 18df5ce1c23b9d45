"""Run a graph exactly on the CPU: the reference that other runs are compared with."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ovtool.core import steps, system_errors
from ovtool.core.errors import InputError
from ovtool.core.shapes import port_name
from ovtool.core.third_party import reason

if TYPE_CHECKING:
    from collections.abc import Mapping

    import openvino as ov
    from numpy.typing import NDArray

EXACT_PROPERTIES = {
    "INFERENCE_PRECISION_HINT": "f32",
    "EXECUTION_MODE_HINT": "ACCURACY",
    # By default, weight-compressed graphs quantize activations in groups, also in f32.
    "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0",
    "KV_CACHE_PRECISION": "f32",
    "NUM_STREAMS": "1",
}
"""OpenVINO properties of the CPU's most accurate mode."""

FLOAT_KERNELS = EXACT_PROPERTIES | {"LP_TRANSFORMS_MODE": "NO"}
"""The same with quantized layers computed in f32, as the graph states them.

On a CPU without VNNI, kernels for 8 bits saturate sums of two products in 16 bits.
"""

_NUMPY_TYPES = frozenset({
    "boolean", "f16", "f32", "f64", "i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64",
})  # fmt: skip


@dataclass(slots=True)
class ReferenceModel:
    """A graph that runs on the CPU in f32, with nothing quantized that the graph does not quantize.

    The first run, and the next after a run that fails, compile the graph; changes between them have
    no effect. Each run starts from the initial state of a graph with state, so the outputs depend
    on the inputs of that run alone.
    """

    model: ov.Model
    properties: Mapping[str, str] = field(default_factory=EXACT_PROPERTIES.copy)
    _compiled: ov.CompiledModel | None = field(default=None, init=False)
    _request: ov.InferRequest | None = field(default=None, init=False)

    @property
    def compiled(self) -> ov.CompiledModel:
        """The compiled graph.

        Raises:
            InputError: The graph does not compile.
        """
        import openvino as ov

        if self._compiled is None:
            try:
                with steps.limited("compiling for the CPU"):
                    self._compiled = ov.Core().compile_model(
                        self.model, "CPU", dict(self.properties)
                    )
            except RuntimeError as error:
                raise _does_not_run(error) from error
        return self._compiled

    def run(
        self, inputs: Mapping[str, NDArray[Any]] | Mapping[int, NDArray[Any]]
    ) -> list[NDArray[Any]]:
        """Return the outputs for arrays [batch, ...] by the name or position of an input.

        Raises:
            InputError: The graph does not run on these inputs.
        """
        compiled = self.compiled
        arrays: Mapping[Any, NDArray[Any]] = inputs
        names = [port_name(p.get_names(), "input", i) for i, p in enumerate(self.model.inputs)]
        feed = [arrays[name] if name in arrays else arrays[i] for i, name in enumerate(names)]
        if self._request is None:
            self._request = compiled.create_infer_request()
        try:
            self._request.reset_state()
            # infer() would present every output to NumPy, which fails for some types.
            # Shared arrays give zeros where an output is an input, after another shape.
            with steps.limited("running on the CPU"):
                self._request.start_async(feed, share_inputs=False)
                self._request.wait()
        except RuntimeError as error:
            self._compiled = self._request = None  # it may reject valid inputs from now on
            raise _does_not_run(error) from error
        count = len(compiled.outputs)
        return [read_tensor(self._request.get_output_tensor(index)) for index in range(count)]


def read_tensor(tensor: ov.Tensor) -> NDArray[Any]:
    """Return a copy of a tensor, in f32, i8 or u8 where NumPy lacks its type.

    Bytes of ``bf16`` and of types of 8 bits and less are not their values: OpenVINO presents
    ``bf16`` to NumPy as ``float16``.
    """
    import openvino as ov

    kind = tensor.element_type.get_type_name()
    if kind == "string":
        return np.array(tensor.str_data)
    if kind in _NUMPY_TYPES:
        return np.array(tensor.data)
    values: NDArray[Any] = ov.op.Constant(tensor).get_data(dtype=np.float32)
    return values.astype({"i": np.int8, "u": np.uint8}.get(kind[0], np.float32))


def _does_not_run(error: RuntimeError) -> InputError:
    explained = system_errors.explain(error)
    if explained is not None:
        return InputError(f"the model does not run on the CPU: {explained}", explained.hint)
    return InputError(f"the model does not run on the CPU: {reason(error)}")
