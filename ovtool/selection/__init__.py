"""Which configuration to deploy under the limits, and why."""
