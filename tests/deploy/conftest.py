"""Copies of a bundle that a test may change."""

import shutil

import pytest


@pytest.fixture
def copy(deployed, tmp_path):
    return shutil.copytree(deployed.bundle, tmp_path / "copy")
