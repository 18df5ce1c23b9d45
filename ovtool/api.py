"""The Python API: one function for each verb of the command line, with the same names.

    from ovtool import api

    fp32 = api.convert("model.onnx", out="variants/fp32")
    int8 = api.compress(fp32, "int8", data="images/", out="variants/int8")
    done = api.sweep([fp32, int8], out="sweep", data="held-out/")
    print(api.choose([done.folder]).headline)

Every function raises :class:`ovtool.core.errors.OvtoolError` for what the user can mend, and then
leaves nothing half-written.
"""

from ovtool.comparison.compare import compare
from ovtool.compile_check.compile_check import (
    check,
    install_npu_compiler,
    npu_compiler_folder,
    npu_compiler_offer,
)
from ovtool.compression.compress import CompressionData, compress
from ovtool.compression.sensitivity import sensitivity
from ovtool.datasets.spec import DataSpec
from ovtool.devices.selection import devices
from ovtool.evaluation.evaluate import evaluate, evaluate_each
from ovtool.models.references import convert
from ovtool.profiling.analyze import analyze
from ovtool.profiling.profile import profile
from ovtool.recipes import catalogue as recipes
from ovtool.recipes.run import run
from ovtool.report.summary import summarize
from ovtool.report.watch import watch_sweeps
from ovtool.report.write import report
from ovtool.roofline.calibrate import calibrate
from ovtool.roofline.predict import predict
from ovtool.selection.choice import choose
from ovtool.sweep.sweep import sweep

__all__ = [
    "CompressionData",
    "DataSpec",
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
]
