"""``python -m ovtool``: the command line."""

from ovtool.cli.main import main

main()
