"""Compression methods and the pipeline that applies them to a variant."""
