"""Sweeps: a plan of trials, a journal of finished trials, and resuming."""
