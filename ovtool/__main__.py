"""The process of the command line: ``ovtool`` and ``python -m ovtool``."""

import signal


def run() -> None:
    """Run the command line in a child process; until it starts, Ctrl-C ends without a traceback."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from ovtool.system.shell_limits import tight_limit
    from ovtool.system.supervisor import end_without_start, supervise

    supervise()
    if (limit := tight_limit()) is not None:
        end_without_start(*limit)
    try:
        from ovtool.cli.main import main
        from ovtool.cli.streams import protect_streams

        protect_streams()
    except (ImportError, MemoryError, OSError) as error:
        reason = f"{type(error).__name__}: {error}".removesuffix(": ")
        end_without_start(reason, "raise the limits of this shell, or install ovtool again")
    main()


if __name__ == "__main__":
    run()
