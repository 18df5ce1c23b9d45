"""Counters of the machine: processors, control groups, energy."""
