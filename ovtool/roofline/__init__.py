"""What a device can reach, measured once, and the latency to expect from it."""
