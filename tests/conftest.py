"""What all tests share: property tests look for wrong answers, not for slow ones."""

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "ovtool", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("ovtool")


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
