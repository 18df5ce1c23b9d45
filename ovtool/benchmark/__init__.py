"""Measuring: one worker process per trial, rounds of windows, figures with intervals, a verdict.

``engine.py`` measures the trials of a group in alternating rounds, through the interfaces of
``session.py``.  ``process.py`` implements them with worker processes (``worker.py``, ``loops.py``,
``layer_timing.py``; ``worker_protocol.py`` reads the replies), ``fake.py`` with scripted latencies.
``jobs.py`` turns a trial into the shapes and properties of a worker, ``pool.py`` keeps as many
workers as memory allows, ``load.py`` searches the highest arrival rate.  ``windows.py`` classifies
the windows, ``figures.py`` computes the figures.
"""
