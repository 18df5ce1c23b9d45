"""The Python API: one function for each verb of the command line, with the same names.

    from ovtool import api

    fp32 = api.convert("model.onnx", out="variants/fp32")
    int8 = api.compress(fp32, "int8", data="images/", out="variants/int8")
    done = api.sweep([fp32, int8], out="sweep", data="held-out/")
    print(api.choose([done.folder]).headline)

Every function raises :class:`ovtool.errors.OvtoolError` for what the user can mend, and then
leaves nothing half-written.
"""

from ovtool.api import recipes
from ovtool.api.calibrating import calibrate
from ovtool.api.checking import (
    check,
    install_npu_compiler,
    npu_compiler_folder,
    npu_compiler_offer,
)
from ovtool.api.compression import Given, compress
from ovtool.api.layer_costs import sensitivity
from ovtool.api.models import DataSpec, convert, devices, evaluate
from ovtool.api.predicting import predict
from ovtool.api.profiling import profile
from ovtool.api.sweeps import changes, choose, report, summary, sweep
from ovtool.api.whole_way import run

__all__ = [
    "DataSpec",
    "Given",
    "calibrate",
    "changes",
    "check",
    "choose",
    "compress",
    "convert",
    "devices",
    "evaluate",
    "install_npu_compiler",
    "npu_compiler_folder",
    "npu_compiler_offer",
    "predict",
    "profile",
    "recipes",
    "report",
    "run",
    "sensitivity",
    "summary",
    "sweep",
]
