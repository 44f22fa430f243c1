"""Charts drawn in a process of their own, so that one that takes the converter down costs its own place and no more.

The converter (vl-convert) carries a whole JavaScript engine, which ends its process where memory runs out. One process
is started when something is drawn first, asked through pipes, and ends with this one.
"""

import json
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import IO, Any

from transferscope.errors import UserError

LIMIT = 300.0  # seconds for one chart, which takes well below one
_WORDS = 8  # bytes that say how long a message is


class DrawingError(UserError):
    """What the converter said of a chart, or how its process ended."""


def svg(spec: str, grammar: str) -> str:
    """A Vega-Lite specification (JSON) as SVG, nothing loaded from anywhere. Raises DrawingError."""
    return _drawer.ask("svg", spec, grammar).decode()


def pdf(svg: str) -> bytes:
    """An SVG as PDF. Raises DrawingError."""
    return _drawer.ask("pdf", svg)


def script(grammar: str) -> str:
    """The JavaScript that shows charts in a browser: vega, vega-lite, vega-embed. Raises DrawingError."""
    return _drawer.ask("script", grammar).decode()


class Drawer:
    """The process, started anew where the last one died; one question at a time."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def ask(self, what: str, *arguments: str) -> bytes:
        """The answer to one question of `_answer`."""
        with self._lock:
            process = self._running()
            assert process.stdin is not None and process.stdout is not None
            try:
                _send(process.stdin, json.dumps([what, *arguments]).encode())
                if not select.select([process.stdout], [], [], LIMIT)[0]:
                    raise EOFError(f"nothing was drawn within {LIMIT:g} s")
                kind, answer = _received(process.stdout), _received(process.stdout)
            except (OSError, EOFError) as error:
                raise DrawingError(self._ended(process, str(error))) from None
        if kind != b"done":
            raise DrawingError(" ".join(answer.decode().split())[:300])
        return answer

    def _running(self) -> "subprocess.Popen[bytes]":
        if self._process is None or self._process.poll() is not None:
            paths = os.pathsep.join(path for path in sys.path if path)
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": paths},
            )
        return self._process

    def _ended(self, process: "subprocess.Popen[bytes]", why: str) -> str:
        """How a process ended that gave no answer; it is gone for good then."""
        try:
            code = process.wait(timeout=1)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            return f"{why}, so that its process was ended"
        finally:
            self._process = None
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        return f"the process that draws ended ({how}), as it does where memory runs out"


_drawer = Drawer()


def _send(pipe: IO[bytes], message: bytes) -> None:
    pipe.write(len(message).to_bytes(_WORDS, "little") + message)
    pipe.flush()


def _received(pipe: IO[bytes]) -> bytes:
    """One message. Raises EOFError where the pipe ends before it does."""
    length = int.from_bytes(_exactly(pipe, _WORDS), "little")
    return _exactly(pipe, length)


def _exactly(pipe: IO[bytes], count: int) -> bytes:
    found = pipe.read(count)
    if len(found) < count:
        raise EOFError
    return found


def _answer(what: str, arguments: Sequence[str]) -> bytes:
    import vl_convert

    if what == "svg":
        return str(vl_convert.vegalite_to_svg(arguments[0], vl_version=arguments[1], allowed_base_urls=[])).encode()
    if what == "pdf":
        return bytes(vl_convert.svg_to_pdf(arguments[0]))
    bundle: Any = vl_convert.javascript_bundle
    return str(bundle(vl_version=arguments[0])).encode()


def _serve() -> None:
    """The life of the process: it answers until its questions end. What the converter raises is its answer."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C reaches the whole group; the parent decides
    questions, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what the converter itself may print is no answer
    while True:
        try:
            what, *arguments = json.loads(_received(questions))
        except EOFError:
            return
        try:
            kind, said = b"done", _answer(what, arguments)
        except BaseException as error:  # a panic of the converter is no Exception
            kind, said = b"failed", f"{type(error).__name__}: {error}".encode()
        _send(answers, kind)
        _send(answers, said)


if __name__ == "__main__":
    _serve()
