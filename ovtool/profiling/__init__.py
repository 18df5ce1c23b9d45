"""Layer times of a compiled model, and operation counts of its graph."""
