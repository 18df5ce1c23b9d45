"""Workflows as YAML: the schema, the run, the bundled recipes."""
