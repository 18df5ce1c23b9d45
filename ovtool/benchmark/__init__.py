"""Measuring: one worker process per trial, rounds of windows, figures with intervals, a verdict.

``engine.py`` measures a group of trials through the interfaces of ``session.py``, which
``process.py`` implements with worker processes and ``fake.py`` with scripted latencies.
"""
