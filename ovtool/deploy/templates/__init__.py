"""Files that bundles get as they are: code that needs no ovtool."""
