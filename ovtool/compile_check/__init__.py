"""Whether a model compiles for a device, also for one that is not present."""
