"""Damaged and hostile files for every reader: ``python -m tests.robustness.fuzz --seconds 60``."""
