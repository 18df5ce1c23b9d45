"""The results table: one row per measurement, of one or many sweeps."""
