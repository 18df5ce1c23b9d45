"""The process of the command line: ``ovtool`` and ``python -m ovtool``."""

import signal


def run() -> None:
    """Run the command line; until its imports are done, Ctrl-C ends it without a traceback."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from ovtool.cli.main import main
    from ovtool.cli.streams import protect_streams

    protect_streams()
    main()


if __name__ == "__main__":
    run()
