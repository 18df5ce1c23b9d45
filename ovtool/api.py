"""The Python API: one function for each verb of the command line, with the same names.

    from ovtool import api

    fp32 = api.convert("model.onnx", out="variants/fp32")
    int8 = api.compress(fp32, "int8", data="images/", out="variants/int8")
    spec = api.SweepSpec(devices=["CPU"], batches=[1, 4])
    result = api.sweep([fp32, int8], spec=spec, out="sweep", data="held-out/")
    choice = api.choose([result.folder], spec=api.ChoiceSpec(max_latency_ms=20))
    print(choice.headline)

Every function raises :class:`ovtool.core.errors.OvtoolError` for a mistake of the user and leaves
no partial files.  ``SweepSpec`` and ``ChoiceSpec`` raise :class:`pydantic.ValidationError`.
"""

from ovtool.comparison.compare import compare
from ovtool.compile_check.compile_check import check
from ovtool.compile_check.npu.install import install_npu_compiler, npu_compiler_offer
from ovtool.compile_check.npu.offline import npu_compiler_folder
from ovtool.compression.compress import CompressionData, compress
from ovtool.compression.sensitivity import sensitivity
from ovtool.core.sweep_spec import FindRate, SweepSpec
from ovtool.datasets.spec import DataSpec
from ovtool.devices.discovery import devices
from ovtool.evaluation.evaluate import evaluate, evaluate_each
from ovtool.models.convert import convert
from ovtool.profiling.analyze import analyze
from ovtool.profiling.run import profile
from ovtool.profiling.why import why
from ovtool.recipes import catalogue as recipes
from ovtool.recipes.run import run
from ovtool.report.summary import summarize
from ovtool.report.watch import watch_sweeps
from ovtool.report.write import report
from ovtool.roofline.calibrate import calibrate
from ovtool.roofline.predict import predict
from ovtool.selection.choice import choose
from ovtool.selection.choice_spec import ChoiceSpec
from ovtool.sweep.run import sweep

__all__ = [
    "ChoiceSpec",
    "CompressionData",
    "DataSpec",
    "FindRate",
    "SweepSpec",
    "analyze",
    "calibrate",
    "check",
    "choose",
    "compare",
    "compress",
    "convert",
    "devices",
    "evaluate",
    "evaluate_each",
    "install_npu_compiler",
    "npu_compiler_folder",
    "npu_compiler_offer",
    "predict",
    "profile",
    "recipes",
    "report",
    "run",
    "sensitivity",
    "summarize",
    "sweep",
    "watch_sweeps",
    "why",
]
