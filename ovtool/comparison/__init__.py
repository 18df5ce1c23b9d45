"""Comparison of two sweeps: improvements and regressions, each with its certainty."""
