"""Two sweeps side by side: what improved, what regressed, and with what certainty."""
