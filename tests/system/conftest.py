from tests.benchmark.conftest import opened  # noqa: F401
