"""A fake Wine and an installed compiler."""

import sys

import pytest

LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Wine is for Linux")


LOADER = """#!/bin/sh
echo "$WINEPREFIX|$WINEDEBUG|$OV_NPU_LOG_LEVEL|$PWD|$*" >> {calls}
mkdir -p "$WINEPREFIX"
{body}
"""


ANSWER = """
echo "@version 2026.4.1"
echo "Estimated inference latency: 198 us"
echo blob > compiled.blob
echo "@compile_s 0.5"
"""


def script(path, text):
    path.write_text(text)
    path.chmod(0o755)
    return path
