"""Measuring: one process a trial, rounds of windows, figures with intervals, a verdict.

``worker.py`` is the measuring process and imports nothing but openvino, numpy and psutil: its
``loops.py`` make the load, ``counters.py`` and ``energy.py`` read at every window what the machine
tells.  ``process.py`` starts it and survives its death, ``answers.py`` reads what it says,
``pool.py`` keeps as many as memory allows.  ``engine.py`` takes the trials that are compared in
turn, ``load.py`` looks for the highest arrival rate.  ``contention.py`` judges the windows and
``figures.py`` makes figures of them.  ``profiling.py``, ``layers.py`` and ``breakdown.py`` are of
single layers; ``fake.py`` has scripted latencies for tests.
"""
