"""The command line: one thin file a verb, which parses, calls :mod:`ovtool.api` and shows."""
