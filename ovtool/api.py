"""The Python API: one function for each verb of the command line, with the same names.

    from ovtool import api

    fp32 = api.convert("model.onnx", out="variants/fp32")
    int8 = api.compress(fp32, "int8", data="images/", out="variants/int8")
    swept = api.sweep([fp32, int8], out="sweep", data="held-out/", devices=["CPU"], batches=[1, 4])
    choice = api.choose(swept, max_latency_ms=20)
    print(choice.headline)

Functions take the options of their verb by the same names, the plural where an option takes several
values.  Results have ``frame``, a data frame, and are tables in a notebook.

Every function raises :class:`ovtool.core.errors.OvtoolError` for a mistake of the user and leaves
no partial files.  ``SweepSpec`` and the other records raise :class:`pydantic.ValidationError`.
"""

from ovtool.comparison.compare import compare
from ovtool.compile_check.compile_check import check
from ovtool.compile_check.npu.install import install_npu_compiler, npu_compiler_offer
from ovtool.compile_check.npu.offline import npu_compiler_folder
from ovtool.compression.compress import CompressionData, compress
from ovtool.compression.sensitivity import sensitivity
from ovtool.core.ports import Preprocessing
from ovtool.core.sweep_spec import FindConcurrency, FindRate, MeasurementSettings, SweepSpec
from ovtool.datasets.spec import DataSpec
from ovtool.deploy.deploy import deploy
from ovtool.deploy.verification import verify_bundle
from ovtool.devices.discovery import devices
from ovtool.evaluation.evaluate import evaluate, evaluate_each
from ovtool.fleet import verbs as fleet
from ovtool.models.convert import convert
from ovtool.models.options import SourceOptions
from ovtool.profiling.analyze import analyze
from ovtool.profiling.run import profile
from ovtool.profiling.why import why
from ovtool.recipes import catalogue as recipes
from ovtool.recipes.draft import DraftSpec, draft
from ovtool.recipes.own_data import OwnData
from ovtool.recipes.own_model import run
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
    "DraftSpec",
    "FindConcurrency",
    "FindRate",
    "MeasurementSettings",
    "OwnData",
    "Preprocessing",
    "SourceOptions",
    "SweepSpec",
    "analyze",
    "calibrate",
    "check",
    "choose",
    "compare",
    "compress",
    "convert",
    "deploy",
    "devices",
    "draft",
    "evaluate",
    "evaluate_each",
    "fleet",
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
    "verify_bundle",
    "watch_sweeps",
    "why",
]
