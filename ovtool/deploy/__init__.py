"""From a choice to a bundle: what a program or a server needs to run it, and proof that it does."""
