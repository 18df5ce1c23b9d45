"""Devices: what is there, what is not and why, and what each kind demands of a trial."""
