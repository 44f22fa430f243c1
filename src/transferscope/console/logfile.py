"""The log file of a verb: all that it says and more, each line with its time and level, appended and flushed."""

import logging
import shlex
import sys
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from transferscope.console import lines
from transferscope.engine.store import reason
from transferscope.errors import UserError, legible
from transferscope.version import VERSION

SECRET = "--token"  # an option whose value is not written down


class _File(logging.FileHandler):
    """One line of the file for every line of a message. A disk that takes no more costs the lines, not the run."""

    failed = False

    def format(self, record: logging.LogRecord) -> str:
        when = datetime.fromtimestamp(record.created).astimezone().isoformat(timespec="milliseconds")
        text = super().format(record)
        said = [legible(line.rstrip()) for line in text.split("\n") if line.strip()]
        return "\n".join(f"{when} {record.levelname} {line}" for line in said or [""])

    def handleError(self, record: logging.LogRecord) -> None:
        if not self.failed:
            self.failed = True
            error = sys.exception()
            why = reason(error) if isinstance(error, OSError) else str(error)
            lines.err.show(f"The log file {self.baseFilename} takes no more ({why}); the work goes on.", markup=False)


_open: list[_File] = []


def begin(file: Path | None) -> Path | None:
    """Log this process to a file from now on, None: do not. UserError where it cannot be written."""
    if file is None:
        return None
    try:
        made = _File(file, mode="a", encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise UserError(f"--log-file: {file} cannot be written ({reason(error)}); choose another file.") from None
    logger = logging.getLogger("transferscope")
    logger.addHandler(made)
    _open.append(made)
    lines.hear(_noted)
    lines.noted(logging.INFO, f"transferscope {VERSION} began: {shlex.join(_command())}")
    return file


def end(code: object) -> None:
    """The verb is over; what it said of itself last, and nothing of a log that nobody asked for."""
    lines.noted(logging.INFO, f"ended with exit code {code}")
    lines.hear(None)
    while _open:
        made = _open.pop()
        logging.getLogger("transferscope").removeHandler(made)
        with suppress(OSError):  # a full disk, which was told
            made.close()


def _noted(level: int, text: str) -> None:
    for made in _open:
        made.handle(logging.LogRecord("transferscope.console", level, __file__, 0, text, None, None))


def _command() -> Iterator[str]:
    """What was typed, secrets left out."""
    hidden = False
    for word in ["transferscope", *sys.argv[1:]]:
        name, equals, _ = word.partition("=")
        yield "..." if hidden else f"{name}=..." if name == SECRET and equals else word
        hidden = word == SECRET


LogFile = Annotated[
    Path | None,
    typer.Option("--log-file", metavar="FILE", help="Append every line with its time to a file.", callback=begin),
]
