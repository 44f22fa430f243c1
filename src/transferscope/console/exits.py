"""How a verb ends: the exit codes, and one sentence on stderr instead of a traceback for what a user can mend."""

import logging
import os
import sys
from collections.abc import Callable

from rich.markup import escape

from transferscope.console.lines import err
from transferscope.errors import UserError

DONE, FAILED, USAGE, REFUSED, INCOMPLETE, INTERRUPTED, TERMINATED = 0, 1, 2, 3, 4, 130, 143


class _Lines(logging.Handler):
    """What the library tells while it works, as lines on stderr."""

    def emit(self, record: logging.LogRecord) -> None:
        err.print(record.getMessage(), markup=False)


def _heard() -> None:
    told = logging.getLogger("transferscope")
    told.setLevel(logging.INFO)
    if not told.handlers:
        told.addHandler(_Lines())


def ended(app: Callable[[], object]) -> None:
    """Run the command line; a user's mistake, or a disk's, is a sentence and exit code 2."""
    _heard()
    try:
        app()
    except UserError as error:
        err.print(f"[red]error:[/red] {escape(str(error))}")
        sys.exit(USAGE)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(DONE)
    except OSError as error:  # a full or read-only disk, a file where a folder should be
        from transferscope.engine.store import reason

        err.print(
            f"[red]error:[/red] Could not read or write {escape(str(error.filename or 'a file'))}: {reason(error)}."
        )
        sys.exit(USAGE)
