"""The command line: one file per verb, with its options, its API call and its printing."""
