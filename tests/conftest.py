"""What all tests share: property tests look for wrong answers, not for slow ones."""

import signal
import sys

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "ovtool", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("ovtool")


def pytest_configure():
    """Undo what a shell or ``nohup`` ignores for jobs in the background: programs inherit it."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for name in ("SIGHUP", "SIGTSTP"):
        if hasattr(signal, name) and signal.getsignal(signal.Signals[name]) == signal.SIG_IGN:
            signal.signal(signal.Signals[name], signal.SIG_DFL)


@pytest.fixture
def tree(tmp_path):
    """Writes files, given as path and content, below a folder that stands for ``/``."""

    def write(files):
        for path, content in files.items():
            target = tmp_path / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(content)
        return tmp_path

    return write


@pytest.fixture(scope="session")
def owned(tmp_path_factory):
    """A classifier and samples as a user has them; its torch module can be imported."""
    from tests.helpers.owned import write_all

    files = write_all(tmp_path_factory.mktemp("owned"))
    sys.path.insert(0, str(files.folder))
    yield files
    sys.path.remove(str(files.folder))
