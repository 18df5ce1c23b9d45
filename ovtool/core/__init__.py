"""What every room builds on: errors, units, trials, measurements, variants, sweep folders."""
