"""Where `dupwatchd` starts, also as `python -m dupwatchd`.

Until the program can answer Ctrl-C itself (`dupwatch.output.run`), the kernel ends it: Python would show a traceback of
whatever is being imported.
"""

import signal
from typing import NoReturn


def main() -> NoReturn:
    """Run the command line of dupwatchd."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else it is to be ignored
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from dupwatchd import cli

    cli.main()


if __name__ == "__main__":
    main()
