"""Measuring: one process a trial, rounds of windows, figures with intervals, a verdict.

``worker.py`` is the measuring process and imports nothing but openvino, numpy and psutil;
``process.py`` starts it and survives its death; ``engine.py`` takes the trials that are compared in
turn; ``figures.py`` makes figures of windows; ``fake.py`` has scripted latencies for tests.
``counters.py``, ``energy.py`` and ``reference.py`` are what the machine tells at every window: who
had the processors, what it drew, and how fast it ran.
"""
