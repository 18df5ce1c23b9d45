"""Trial compilation for devices, also for an NPU that is not present."""
