"""`dubrelay ...` and `python -m dubrelay ...`: runs a command and turns how it ended into an exit code."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import typer
from typer.exceptions import TyperException

from dubrelay.errors import EXIT_BUG, EXIT_OK, DubrelayError, StartupError

EXIT_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code of contracts, section 7. A user's mistake gets one line for each problem, never a traceback."""
    try:
        return _run(arguments)
    except DubrelayError as e:
        return _complain(e.message, e.exit_code)
    except TyperException as e:
        message = e.format_message().replace("Value error, ", "")  # empty when help was shown instead
        return _complain(message and f"{message} (see dubrelay --help)", e.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        return EXIT_INTERRUPTED
    except Exception as e:
        if isinstance(e, OSError) and e.filename is not None:
            return _complain(f"{e.filename}: {e.strerror}", StartupError.exit_code)
        return _bug()


def _run(arguments: Sequence[str] | None) -> int:
    from dubrelay.cli import app  # noqa: PLC0415  (a broken environment is an error to report, too)

    command = typer.main.get_command(app)
    result = command.main(arguments, prog_name="dubrelay", standalone_mode=False)
    return result if isinstance(result, int) else EXIT_OK


def _complain(message: str, exit_code: int) -> int:
    for line in message.splitlines():
        sys.stderr.write(f"dubrelay: {line}\n")
    return exit_code


def _bug() -> int:
    from dubrelay import logs  # noqa: PLC0415

    if not logs.is_set_up():
        logs.setup("cli")
    logs.get().exception("bug", exit_code=EXIT_BUG)
    return EXIT_BUG


if __name__ == "__main__":
    sys.exit(main())
