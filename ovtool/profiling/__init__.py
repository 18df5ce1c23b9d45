"""Layer times of a compiled model, operation counts, and why a model is slower than another."""
