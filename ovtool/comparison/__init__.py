"""Two sweeps side by side: what improved, what regressed, and how sure that is."""
