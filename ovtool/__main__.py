"""The process of the command line: ``ovtool`` and ``python -m ovtool``."""

import signal


def run() -> None:
    """Run the command line in a child process; until it starts, Ctrl-C ends without a traceback."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from ovtool.system.supervisor import supervise

    supervise()
    from ovtool.cli.main import main
    from ovtool.cli.streams import protect_streams

    protect_streams()
    main()


if __name__ == "__main__":
    run()
