"""Shared types and helpers: errors, units, trials, measurements, variants, sweep folders."""
