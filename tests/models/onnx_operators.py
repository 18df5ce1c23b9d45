"""The operator tests of the onnx package: what ``convert`` makes of each.

``python -m tests.models.onnx_operators`` converts all of them and writes the table of the
documentation, ``docs/reference/onnx-operators.json``.
"""

from __future__ import annotations

import json
import re
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
SPECIAL_VALUES = {
    r"cast(like)?_.*": "infinity, NaN and values beyond the range of the type",
    r"attention_.*(fullymasked|mode3_softmax_precision).*": "rows whose keys are all masked",
    r"bitshift_.*(ge_width|negative|overflow).*": "shifts beyond the width of the type",
    r"nonmaxsuppression_iou_threshold_boundary": "an overlap equal to the threshold",
}
"""Tests (regular expressions) with values that ``convert`` does not try, on which OpenVINO differs
from the standard."""

OUTCOMES = {
    "equal": "equal to the expected outputs of the test",
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
    if difference:
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


def compare_case(case: Any, made: Variant) -> str:
    """Return how the saved IR differs from the expected outputs; empty if it does not."""
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
    tolerances = [
        max(DEFAULT_TOLERANCE, OUTPUT_STEPS.get(port.dtype, 0.0), resolution(ancestors(node)))
        for port, node in zip(record.outputs, model.model.get_results(), strict=True)
    ]
    pairs = zip(tolerances, actual, map(_plain, outputs), strict=True)
    return "; ".join(filter(None, (_difference(t, a, e) for t, a, e in pairs)))


def _plain(value: Any) -> Any:
    if isinstance(value, onnx.TensorProto):
        value = onnx.numpy_helper.to_array(value)
    return to_plain_type(np.asarray(value))


def _difference(tolerance: float, actual: Any, expected: Any) -> str:
    if actual.shape != expected.shape:
        return f"shape {list(actual.shape)}, expected {list(expected.shape)}"
    if expected.dtype.kind in "OSU":
        return "" if (actual.astype(str) == expected.astype(str)).all() else "other texts"
    with np.errstate(invalid="ignore"):
        ours, theirs = actual.astype(np.float64), expected.astype(np.float64)
    largest = np.abs(theirs[np.isfinite(theirs)]).max(initial=0.0)
    allowed = max(tolerance * largest, np.finfo("f4").eps)
    wrong = ~np.isclose(ours, theirs, rtol=0, atol=allowed, equal_nan=True)
    return f"{wrong.sum()} of {wrong.size} values" if wrong.any() else ""


def convert_all(cases: Iterable[Any], operators: Mapping[str, str]) -> Iterator[Result]:
    """Convert tests, one at a time."""
    with tempfile.TemporaryDirectory() as folder:
        for case in cases:
            yield convert_case(case, operators[case.name], Path(folder) / "case")


def special_values(name: str) -> str:
    """Return which values of a test ``convert`` does not try; empty if it tries them."""
    plain = name.removeprefix("test_")
    return next((why for p, why in SPECIAL_VALUES.items() if re.fullmatch(p, plain)), "")


def write_table(results: Sequence[Result]) -> None:
    """Write the number of tests of each operator by outcome, and the tests that differ."""
    operators: dict[str, Counter[str]] = {}
    for result in results:
        operators.setdefault(result.operator, Counter())[result.outcome] += 1
    document = {
        "versions": {p: version(p) for p in ("openvino", "onnx", "onnxruntime")},
        "operators": {name: dict(sorted(operators[name].items())) for name in sorted(operators)},
        "differences": [
            asdict(r) for r in results if r.outcome in ("wrong", "wrong-checked", "differs")
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
