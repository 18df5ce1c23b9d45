"""One file per verb: its options, its call of :mod:`ovtool.api`, and its printing."""
