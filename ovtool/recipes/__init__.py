"""A whole workflow written down as YAML: its schema, its run, the bundled ones."""
