"""The Python API: one function for each verb of the command line, with the same names.

    from ovtool import api

    fp32 = api.convert("model.onnx", out="variants/fp32")
    int8 = api.compress(fp32, "int8", data="images/", out="variants/int8")
    done = api.sweep([fp32, int8], out="sweep", data="held-out/")
    print(api.choose([done.folder]).headline)

Every function raises :class:`ovtool.errors.OvtoolError` for what the user can mend, and then
leaves nothing half-written.
"""

from ovtool.api.models import DataSpec, compress, convert, devices, evaluate
from ovtool.api.recipes import check_recipe, list_recipes, run, show_recipe
from ovtool.api.sweeps import choose, report, summary, sweep

__all__ = [
    "DataSpec",
    "check_recipe",
    "choose",
    "compress",
    "convert",
    "devices",
    "evaluate",
    "list_recipes",
    "report",
    "run",
    "show_recipe",
    "summary",
    "sweep",
]
