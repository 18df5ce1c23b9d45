"""The results table: one row a measurement, of one or many sweeps."""
