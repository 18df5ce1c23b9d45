"""What all tests share: property tests look for wrong answers, not for slow ones."""

import gc
import os
import signal
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "full", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("fast", settings.get_profile("full"), max_examples=20)
settings.load_profile("full")


def pytest_configure(config):
    """Search the fast tests with fewer examples, and undo what a shell lets programs ignore.

    A shell or ``nohup`` ignores signals for jobs in the background: programs inherit it.  Workers
    of pytest-xdist have a width of lines in their environment.
    """
    os.environ.pop("COLUMNS", None)
    if "not slow" in config.option.markexpr:
        settings.load_profile("fast")
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for name in ("SIGHUP", "SIGTSTP"):
        if hasattr(signal, name) and signal.getsignal(signal.Signals[name]) == signal.SIG_IGN:
            signal.signal(signal.Signals[name], signal.SIG_DFL)


@pytest.hookimpl(tryfirst=True)
def pytest_collection():
    """Collect no garbage among the modules of tests, which stay to the end."""
    gc.disable()


def pytest_collection_finish():
    """Leave what was collected out of every later collection of garbage."""
    gc.freeze()
    gc.enable()


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
def llm():
    """The packages of the extra ``llm``."""
    for package in ("transformers", "openvino_tokenizers", "openvino_genai", "gguf"):
        pytest.importorskip(package, reason=f"ovtool[llm] is not installed: {package}")


class TextGenerator(NamedTuple):
    """A model with random weights, its folder and its variant."""

    model: object
    folder: Path
    variant: object


@pytest.fixture(scope="session")
def llama(llm, tmp_path_factory):
    """A text generator of two layers; its conversion takes 15 s."""
    from ovtool.models.convert import convert
    from tests.helpers.language_models import write_model

    folder = tmp_path_factory.mktemp("llama")
    model = write_model(folder, "llama", num_key_value_heads=2)
    return TextGenerator(model, folder, convert(folder, out=folder.parent / "llama-v"))


@pytest.fixture(scope="module")
def local_workers():
    """Measure and read models in this process for the tests of a module."""
    from tests.helpers.in_process import use_local_workers

    with pytest.MonkeyPatch.context() as patch:
        use_local_workers(patch)
        yield


@pytest.fixture(scope="module")
def local_renderer():
    """Draw charts in this process for the tests of a module."""
    from tests.helpers.in_process import use_local_renderer

    with pytest.MonkeyPatch.context() as patch:
        use_local_renderer(patch)
        yield


@pytest.fixture(scope="session")
def owned(tmp_path_factory):
    """A classifier and samples as a user has them; its torch module can be imported."""
    from tests.helpers.owned import write_all

    files = write_all(tmp_path_factory.mktemp("owned"))
    sys.path.insert(0, str(files.folder))
    yield files
    sys.path.remove(str(files.folder))


@pytest.fixture(scope="session")
def deployed(tmp_path_factory):
    """A sweep of a small classifier on images, and the bundle of its choice."""
    from tests.helpers.bundles import deploy_images

    return deploy_images(tmp_path_factory.mktemp("deployed"))
