"""Peaks of a device, measured once, and the latency predicted from them."""
