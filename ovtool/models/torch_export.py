"""Torch ``ExportedProgram`` files of ``torch.export.save``: ``x.pt2``, only with ``--trust``.

``torch.export.load`` unpickles parts of the file, evaluates sizes and guards as Python, and writes
names of the file into generated code (torch 2.13, ``torch/_export/serde/serialize.py``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ovtool.core import files
from ovtool.core.errors import InputError
from ovtool.core.shapes import OPEN
from ovtool.core.third_party import captured, reason
from ovtool.core.variant import Source
from ovtool.models.network import conversion_error, name_inputs
from ovtool.models.source import Inputs, SourceModel
from ovtool.models.torch import eager_runtime
from ovtool.models.torch_precise import random_operations
from ovtool.models.torch_state import ModuleState, find_state
from ovtool.models.torch_weights import UnsafeFileError, refuse_inflated

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from ovtool.models.options import SourceOptions


def read(reference: str, options: SourceOptions) -> SourceModel:
    """Read an exported program, including its dynamic dimensions.

    Raises:
        UnsafeFileError: The file is not trusted.
        InputError: The file is missing, truncated, or contains an operation that OpenVINO does not
            support.
    """
    import openvino as ov
    import torch
    from torch.utils._pytree import tree_unflatten

    path = files.existing_file(reference, "model")
    with path.open("rb") as stream:
        refuse_inflated(stream, path.stat().st_size, path)
    if not options.trust:
        raise UnsafeFileError(
            f"{path} is an exported program: loading it can run arbitrary code",
            "export the model to ONNX, or pass --trust to run the code in the file",
        )
    program = _load(path)
    _refuse_dropout(program, path)
    shapes = _shapes(program, path)
    try:
        with captured(reference):
            model = ov.convert_model(program)
            # Guards check the shapes of torch's run only.
            module = program.module(check_guards=False)
    except Exception as error:  # torch's decompositions can raise anything
        raise conversion_error(reference, error) from error
    source = Source(kind="torch-export", reference=reference, sha256=files.sha256(path))
    name_inputs(model, shapes, reference)

    def call(tensors: dict[str, torch.Tensor]) -> Any:
        if state is not None:
            state.restore(module)
        args, kwargs = tree_unflatten(list(tensors.values()), program.call_spec.in_spec)
        return module(*args, **kwargs)

    def random_names(inputs: Inputs) -> list[str]:
        tensors = {name: torch.from_numpy(np.array(inputs[name])) for name in shapes}
        return random_operations(lambda: call(tensors), reference)

    state = _find_state(program, module, reference)
    return SourceModel(
        source=source,
        model=model,
        reference=eager_runtime(reference, list(shapes), call),
        against=f"torch {torch.__version__}, the exported program",
        random_operations=random_names,
        symbols=_symbols(program),
        notes=() if state is None else (state.note,),
    )


def _find_state(
    program: torch.export.ExportedProgram, module: torch.nn.Module, reference: str
) -> ModuleState | None:
    """Return the state of a program with example inputs; None without."""
    import torch

    if program.example_inputs is None:
        return None
    args, kwargs = program.example_inputs
    try:
        with captured(reference), torch.no_grad():
            return find_state(module, lambda: module(*args, **kwargs))
    except Exception as error:  # torch's decompositions can raise anything
        raise conversion_error(reference, error) from error


def _load(path: Path) -> torch.export.ExportedProgram:
    # Not torch.export.load: on an error it tries an older format, which is a pickle.
    from torch.export.pt2_archive._package import load_pt2

    try:
        with captured(str(path)):
            programs = load_pt2(str(path)).exported_programs
    except Exception as error:  # a damaged file can raise anything
        raise InputError(f"cannot load {path}: {reason(error)}", "export it again") from error
    if "model" not in programs:
        raise InputError(f"{path} contains no exported program")
    return programs["model"]


def _refuse_dropout(program: torch.export.ExportedProgram, path: Path) -> None:
    """Refuse a program that was exported in training mode and drops values.

    OpenVINO misreads ``native_dropout``, to which torch decomposes the others.
    """
    for node in program.graph.nodes:
        name = str(node.target)
        if node.op == "call_function" and "dropout" in name and True in node.args[2:3]:
            raise InputError(
                f"{path} was exported in training mode: {name} drops values",
                "export it in eval mode: torch.export.export(module.eval(), ...)",
            )


def _symbols(program: torch.export.ExportedProgram) -> dict[str, list[str | None]]:
    """Return the names of the dynamic dimensions of the program's inputs."""
    inputs = set(program.graph_signature.user_inputs)
    return {
        node.name: [None if isinstance(size, int) else str(size) for size in node.meta["val"].shape]
        for node in program.graph.nodes
        if node.name in inputs
    }


def _shapes(program: torch.export.ExportedProgram, path: Path) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the program's inputs; -1 is a dynamic dimension."""
    import torch

    values = {node.name: node.meta.get("val") for node in program.graph.nodes}
    shapes = {}
    for name in program.graph_signature.user_inputs:
        value = values.get(name)
        if not isinstance(value, torch.Tensor):
            raise InputError(f"{path}: input {name!r} is not a tensor", "export without this input")
        shapes[name] = tuple(size if isinstance(size, int) else OPEN for size in value.shape)
    return shapes
