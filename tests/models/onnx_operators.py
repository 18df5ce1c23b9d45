"""The operator tests of the onnx package: what ``convert`` makes of each.

``python -m tests.models.onnx_operators`` converts all of them and writes the table of the
documentation, ``docs/reference/onnx-operators.json``.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import openvino as ov

from ovtool import api
from ovtool.core.errors import OvtoolError
from ovtool.graph.reference_run import ReferenceModel
from ovtool.models.check_verdict import DEFAULT_TOLERANCE
from ovtool.models.onnx_runtime import NARROW_TYPES, to_plain_type
from ovtool.models.source_error import OUTPUT_STEPS, ancestors, resolution

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from ovtool.core.variant import Variant

STORED = Path(__file__).resolve().parents[2] / "docs" / "reference" / "onnx-operators.json"

PROCESSES = 2
OUTCOMES = {
    "equal": "equal to the expected outputs of the test",
    "limited": "other outputs, only for values that a note of the variant names",
    "not-checked": "equal, and recorded as not checked",
    "wrong": "other outputs, and recorded as not checked",
    "wrong-checked": "other outputs, although equal on the inputs of the output check",
    "differs": "an error: the outputs differ from those of the source",
    "refused": "an error: the source does not accept the inputs tried, or has unsupported types",
    "unread": "an error: OpenVINO does not read or run the operator",
    "crash": "an exception that is no error of ovtool",
}


@dataclass(frozen=True, slots=True)
class Result:
    """What ``convert`` made of a test."""

    name: str
    operator: str
    outcome: str
    detail: str = ""
    analysis: str = ""
    """Why ``analyze`` does not answer; empty if it does, or if the test was not converted."""


def load_cases() -> list[Any]:
    """Return the tests of single operators, with a model, inputs and expected outputs each."""
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return list(collect_testcases(None))


def operators_of(cases: Iterable[Any]) -> dict[str, str]:
    """Return the operator of each test; an expanded test is about that of its original."""
    named = {case.name: case.model.graph.node[0].op_type for case in cases}
    return {n: named.get(n.removesuffix("_expanded"), kind) for n, kind in named.items()}


def convert_case(case: Any, operator: str, folder: Path) -> Result:
    """Convert a test, and compare the saved IR with the expected outputs on its inputs."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    onnx.save(case.model, folder / "m.onnx")
    try:
        made = api.convert(folder / "m.onnx", out=folder / "out")
    except OvtoolError as error:
        text = str(error).replace(str(folder), "")
        return Result(case.name, operator, _error_outcome(text), text)
    except Exception as error:  # noqa: BLE001 - the test is that there is none
        return Result(case.name, operator, "crash", repr(error))
    check = made.record.check
    checked = check is not None and not check.unchecked
    difference = compare_case(case, made)
    if difference and not compare_case(case, made, named=True):
        outcome = "limited"
    elif difference:
        outcome = "wrong-checked" if checked else "wrong"
    else:
        outcome = "equal" if checked else "not-checked"
    return Result(case.name, operator, outcome, difference, _analysis_error(made))


def _analysis_error(made: Variant) -> str:
    try:
        api.analyze(made)
    except Exception as error:  # noqa: BLE001 - the test is that there is none
        return repr(error)
    return ""


def _error_outcome(text: str) -> str:
    if "cannot read" in text or "does not run on the CPU" in text:
        return "unread"
    differs = text.startswith("output ") and " of /" not in text
    return "differs" if differs else "refused"


def compare_case(case: Any, made: Variant, *, named: bool = False) -> str:
    """Return how the saved IR differs from the expected outputs; empty if it does not.

    With ``named``, values for which the notes of the variant name a difference are left out.
    """
    inputs, outputs = case.data_sets[0]
    values = {v.name: array for v, array in zip(case.model.graph.input, inputs, strict=True)}
    record = made.record
    if any(port.dtype in NARROW_TYPES for port in record.inputs):
        return ""  # refused by convert
    model = ReferenceModel(ov.Core().read_model(made.xml))
    try:
        actual = model.run({port.name: _plain(values[port.name]) for port in record.inputs})
    except OvtoolError as error:
        return str(error)
    if len(actual) != len(outputs):
        return f"{len(actual)} outputs, expected {len(outputs)}"
    notes = {note.id: note.evidence for note in record.notes if named}
    if "overlap-limited" in notes:
        return ""
    tolerances = [
        max(DEFAULT_TOLERANCE, OUTPUT_STEPS.get(port.dtype, 0.0), resolution(ancestors(node)))
        for port, node in zip(record.outputs, model.model.get_results(), strict=True)
    ]
    left_out = _values_of_notes(notes, {n: _plain(v) for n, v in values.items()}, made)
    pairs = zip(tolerances, actual, map(_plain, outputs), strict=True)
    return "; ".join(filter(None, (_difference(t, a, e, left_out) for t, a, e in pairs)))


def _values_of_notes(notes: Mapping[str, str], inputs: Mapping[str, Any], made: Variant) -> Any:
    """Return a mask of the values of an output for which notes name a difference.

    Such outputs have a value for each value of the input, or a row for each row of a mask.
    """
    mask: Any = np.zeros((), np.bool_)
    if "values-limited" in notes:
        name, _, texts = notes["values-limited"].partition(": ")
        x, special = inputs[name], np.array([float(text) for text in texts.split(", ")])
        finite = np.abs(special[np.isfinite(special)])
        mask = mask | (np.isnan(x) & np.isnan(special).any())
        mask = mask | (np.isinf(x) & np.isinf(special).any())
        mask = mask | (np.abs(x) > finite.min(initial=np.inf) / 2)
    if "cast-undefined" in notes:
        dtype = made.record.outputs[0].dtype
        bits, signed = int(dtype[1:]), dtype[0] == "i"
        low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1)) if signed else (0, 2**bits)
        whole = np.trunc(next(iter(inputs.values())).astype(np.float64))
        mask = mask | ~((whole >= low) & (whole < high))
    if "rows-limited" in notes:
        name = notes["rows-limited"].partition(": ")[0]
        mask = mask | ~inputs[name].any(-1, keepdims=True)
    return mask


def _plain(value: Any) -> Any:
    if isinstance(value, onnx.TensorProto):
        value = onnx.numpy_helper.to_array(value)
    return to_plain_type(np.asarray(value))


def _difference(tolerance: float, actual: Any, expected: Any, left_out: Any) -> str:
    if actual.shape != expected.shape:
        return f"shape {list(actual.shape)}, expected {list(expected.shape)}"
    if expected.dtype.kind in "OSU":
        return "" if (actual.astype(str) == expected.astype(str)).all() else "other texts"
    with np.errstate(invalid="ignore"):
        ours, theirs = actual.astype(np.float64), expected.astype(np.float64)
    largest = np.abs(theirs[np.isfinite(theirs)]).max(initial=0.0)
    allowed = max(tolerance * largest, np.finfo("f4").eps)
    wrong = ~np.isclose(ours, theirs, rtol=0, atol=allowed, equal_nan=True)
    wrong &= ~left_out
    return f"{wrong.sum()} of {wrong.size} values" if wrong.any() else ""


def convert_all(cases: Iterable[Any], operators: Mapping[str, str]) -> Iterator[Result]:
    """Convert tests, one at a time."""
    with tempfile.TemporaryDirectory() as folder:
        for case in cases:
            yield convert_case(case, operators[case.name], Path(folder) / "case")


def write_table(results: Sequence[Result]) -> None:
    """Write the number of tests of each operator by outcome, and the tests that differ."""
    operators: dict[str, Counter[str]] = {}
    for result in results:
        operators.setdefault(result.operator, Counter())[result.outcome] += 1
    document = {
        "versions": {p: version(p) for p in ("openvino", "onnx", "onnxruntime")},
        "operators": {name: dict(sorted(operators[name].items())) for name in sorted(operators)},
        "differences": [
            asdict(r)
            for r in results
            if r.outcome in ("limited", "wrong", "wrong-checked", "differs")
        ],
    }
    STORED.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def convert_in_processes(names: Sequence[str], operators: Mapping[str, str]) -> Iterator[Result]:
    """Convert tests in a child process, which a crash of OpenVINO ends; go on after that test."""
    done = 0
    while done < len(names):
        command = [sys.executable, "-m", __spec__.name, *names[done:]]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as child:
            for line in child.stdout or ():
                done += 1
                yield Result(**json.loads(line))
        if child.returncode:
            name, done = names[done], done + 1
            yield Result(name, operators[name], "crash", f"exit code {child.returncode}")


def main() -> None:
    """Convert the named tests; without names all of them, and write the table of the docs."""
    cases = load_cases()
    operators = operators_of(cases)
    if names := set(sys.argv[1:]):
        for result in convert_all((case for case in cases if case.name in names), operators):
            print(json.dumps(asdict(result)), flush=True)
        return
    with ThreadPoolExecutor(PROCESSES) as pool:
        parts = [[case.name for case in cases[i::PROCESSES]] for i in range(PROCESSES)]
        converted = pool.map(lambda part: list(convert_in_processes(part, operators)), parts)
    results = {result.name: result for part in converted for result in part}
    write_table([results[case.name] for case in cases])
    print(Counter(result.outcome for result in results.values()))
    print(Counter("analyzed" if not r.analysis else r.analysis for r in results.values()))


if __name__ == "__main__":
    main()
