"""Takes a trained model to the Intel hardware it should run on.

The Python API is :mod:`ovtool.api`: one function for each verb of the command line.
"""

import logging
import sys

# What libraries say goes to this logger, and nowhere unless somebody listens (ovtool --log FILE).
logging.getLogger("ovtool").addHandler(logging.NullHandler())

# openvino reports its import, and nncf each compression, to a web service unless this package is
# missing; both then fall back to a stub of their own.  An opt-out file would be written into the
# user's home, and an environment variable (CI=true) would tell other tools something false.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

__version__ = "0.1.0"
