from tests.compression.conftest import conv, dense  # noqa: F401
