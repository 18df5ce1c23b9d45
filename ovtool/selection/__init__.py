"""The configuration to deploy under the limits, with reasons."""
