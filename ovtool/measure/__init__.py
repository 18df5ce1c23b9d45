"""Measuring: one process a trial, rounds of windows, figures with intervals, a verdict.

``worker.py`` is the measuring process and imports nothing but openvino, numpy and psutil;
``process.py`` starts it and survives its death; ``engine.py`` takes the trials that are compared in
turn; ``layers.py`` says what a compiled model executes, ``profiling.py`` how long each layer takes
and ``breakdown.py`` makes rows of that; ``figures.py`` makes figures of windows; ``fake.py`` has
scripted latencies for tests.
"""
