"""The NPU's own compiler, for platforms that are not here: where it comes from, how it is run."""
