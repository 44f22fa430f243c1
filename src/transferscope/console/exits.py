"""How a verb ends: the exit codes, and one sentence on stderr instead of a traceback for what a user can mend."""

import gc
import logging
import os
import sys
import traceback
from collections.abc import Callable

from rich.markup import escape

from transferscope.console import logfile
from transferscope.console.lines import err, noted, speakable
from transferscope.errors import UserError

RARELY = (50_000, 20, 20)  # of Python's collector: what imports and plans make stays, and was walked again and again
DONE, FAILED, USAGE, REFUSED, INCOMPLETE, DISK, INTERRUPTED, TERMINATED = 0, 1, 2, 3, 4, 5, 130, 143


class _Lines(logging.Handler):
    """What the library tells while it works, as lines on stderr."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.INFO:
            err.show(record.getMessage(), markup=False)


def _heard() -> None:
    logger = logging.getLogger("transferscope")
    logger.setLevel(logging.DEBUG)  # a log file holds all; on stderr stands what is of use to a person
    if not logger.handlers:
        logger.addHandler(_Lines())


def ended(app: Callable[[], object]) -> None:
    """Run the command line; a user's mistake is a sentence and exit code 2, a disk's exit code 5."""
    gc.set_threshold(*RARELY)
    _heard()
    speakable()
    try:
        _ended(app)
        logfile.end(DONE)
    except SystemExit as error:
        logfile.end(error.code or DONE)
        raise
    except BaseException as error:
        noted(logging.CRITICAL, "".join(traceback.format_exception(error)))
        logfile.end(type(error).__name__)
        raise


def _ended(app: Callable[[], object]) -> None:
    try:
        app()
    except UserError as error:
        err.print(f"[red]error:[/red] {escape(str(error))}")
        sys.exit(USAGE)
    except SystemExit as error:
        if _ours(error):
            raise
        if isinstance(error.__context__, BrokenPipeError):  # click's way to end it
            sys.exit(DONE)
        err.print(f"[red]error:[/red] code that the study uses called sys.exit({error.code!r}); let it raise an error.")
        sys.exit(USAGE)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(DONE)
    except OSError as error:  # a full or read-only disk, a file where a folder should be
        from transferscope.engine.store import reason

        err.print(
            f"[red]error:[/red] Could not read or write {escape(str(error.filename or 'a file'))}: {reason(error)}."
        )
        sys.exit(DISK)


def _ours(error: SystemExit) -> bool:
    """Whether the command line itself ended: typer exits while it handles an exception of its own or of click, or, when
    it completes words for a shell, in a line of its own."""
    cause, line = error.__context__, error.__traceback__
    while line is not None and line.tb_next is not None:
        line = line.tb_next
    modules = [type(cause).__module__ if cause is not None else "", line.tb_frame.f_globals["__name__"] if line else ""]
    return any(module.partition(".")[0] in ("typer", "click") for module in modules)
