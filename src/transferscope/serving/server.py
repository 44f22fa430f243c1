"""The server: a few addresses to read, none to write, each looked at by the door first.

Python's own http.server suffices: there is one page, it is asked every two seconds, and nothing but the first line and
the headers of a request is read. Its plain form hands out files of a folder; that part is not used.
"""

import hashlib
import json
import logging
import socket
import sys
import threading
from collections.abc import Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from transferscope.engine.store import reason
from transferscope.errors import UserError
from transferscope.serving import access, safe_files
from transferscope.serving.study_state import Watched
from transferscope.version import VERSION

log = logging.getLogger(__name__)
IDLE = 30.0  # seconds that a connection may say nothing
MANY = 64  # connections at a time: a person has a few windows
OWN = {
    "/": ("page.html", "text/html; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
}
KINDS = {"svg": "image/svg+xml", "pdf": "application/pdf", "png": "image/png", "csv": "text/csv; charset=utf-8"}
BESIDE = {"figures": ("svg", "pdf", "png"), "tables": ("csv",)}  # folders beside the study, and what of them is shown
ALONE = {
    "report.html": "text/html; charset=utf-8",
    "results.json": "application/json",
    "resolved.yaml": "text/plain; charset=utf-8",
}
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}
# Ours loads from here alone; what a study's folder holds may run its scripts, but reaches nothing from them.
OURS = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; frame-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
THEIRS = (
    "sandbox allow-scripts allow-popups allow-popups-to-escape-sandbox allow-downloads; connect-src 'none'; "
    "form-action 'none'; base-uri 'none'; frame-ancestors 'self'"
)
REFUSED = (
    "This page asks for the token that 'transferscope serve' printed when it began: open the address that it printed, "
    "which holds it.\n"
)


class Server(ThreadingHTTPServer):
    """Listens at `host` and `port` (0: a free one) for who asks after `watched`. UserError where it cannot."""

    daemon_threads = True  # a browser that keeps its connection keeps nobody from ending
    request_queue_size = 32

    def __init__(self, host: str, port: int, token: str | None, watched: Watched) -> None:
        self.watched = watched
        self._room = threading.BoundedSemaphore(MANY)
        try:
            self.address_family, *_, address = socket.getaddrinfo(
                host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
            super().__init__((str(address[0]), port), _Answer)
        except OverflowError:
            raise UserError(f"--port {port}: give a number from 0 to 65535.") from None
        except OSError as error:
            why = str(error.strerror) if isinstance(error, socket.gaierror) else reason(error)
            raise UserError(f"Cannot listen at {host}, port {port} ({why}); choose others (--host, --port).") from None
        self.door = access.Door(host, self.server_address[1], token)

    def server_bind(self) -> None:
        """As its parent's, without asking a name server who this is."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]

    @property
    def url(self) -> str:
        """What a browser is told: with the token, if there is one."""
        host = self.door.host.strip("[]")
        shown = socket.gethostname() if host in ("0.0.0.0", "::", "") else host
        shown = f"[{shown}]" if ":" in shown else shown
        return f"http://{shown}:{self.door.port}/" + (f"?token={self.door.token}" if self.door.token else "")

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._room.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        log.debug("A browser went away: %s", sys.exception())


class _Answer(BaseHTTPRequestHandler):
    """One connection."""

    server: Server
    protocol_version = "HTTP/1.1"
    server_version, sys_version = f"transferscope/{VERSION}", ""
    timeout = IDLE

    def do_GET(self) -> None:
        try:
            self._answer()
        except (ConnectionError, TimeoutError):
            raise
        except Exception:
            log.warning("An answer to the browser failed.", exc_info=True)
            self.close_connection = True
            self._say(HTTPStatus.INTERNAL_SERVER_ERROR, "Something went wrong here.\n")

    do_HEAD = do_GET

    def _answer(self) -> None:
        if self.headers.get("Content-Length") or self.headers.get("Transfer-Encoding"):
            self.close_connection = True  # what follows is no request
        asked = urlsplit(self.path)
        if not self.server.door.knows(self.headers.get("Host") or ""):
            self._say(HTTPStatus.MISDIRECTED_REQUEST, "This server does not go by that name.\n")
            return
        how = self.server.door.opens(self.headers, asked.query)
        if how == "no":
            self._say(HTTPStatus.UNAUTHORIZED, REFUSED, {"WWW-Authenticate": "Bearer"})
        elif how == "by address":  # and it does not stay there, where histories and pictures of screens keep it
            where = asked.path if asked.path in OWN else "/"
            self._say(HTTPStatus.SEE_OTHER, "", {"Location": where, "Set-Cookie": self.server.door.kept()})
        else:
            self._give(unquote(asked.path, errors="replace"), parse_qs(asked.query))

    def _give(self, path: str, query: Mapping[str, list[str]]) -> None:
        watched = self.server.watched
        if path in OWN:
            name, kind = OWN[path]
            content = files(__package__).joinpath(name).read_bytes()
            self._send(content, kind, OURS)
            return
        try:
            if path == "/state":
                self._json(watched.state())
            elif path == "/curves":
                self._json(watched.curves(query.get("of", ["val_metric"])[0]))
            elif path == "/log":
                self._json(watched.log(query.get("key", [""])[0]))
            else:
                self._file(path.removeprefix("/").split("/"))
        except KeyError:
            self._say(HTTPStatus.NOT_FOUND, "There is no such thing here.\n")

    def _file(self, parts: list[str]) -> None:
        """The page, and what it links to. KeyError for everything else."""
        ending = parts[-1].rpartition(".")[2]
        if len(parts) == 1:
            kind = ALONE[parts[0]]
        elif len(parts) == 2 and ending in BESIDE[parts[0]]:
            kind = KINDS[ending]
        else:
            raise KeyError(parts[-1])
        found = safe_files.read(self.server.watched.folder, parts)
        if found is None:
            raise KeyError(parts[-1])
        saved = {"Content-Disposition": "attachment"} if ending in ("pdf", "csv") else {}  # which a sandbox cannot show
        self._send(found.content, kind, THEIRS, saved)

    def _json(self, said: Mapping[str, Any]) -> None:
        content = json.dumps(said, allow_nan=False, separators=(",", ":")).encode()
        self._send(content, "application/json", OURS)

    def _send(self, content: bytes, kind: str, policy: str, more: Mapping[str, str] | None = None) -> None:
        """200 with the content, or 304 where the browser has it."""
        tag = f'"{hashlib.blake2b(content, digest_size=12).hexdigest()}"'
        same = self.headers.get("If-None-Match") == tag
        self.send_response(HTTPStatus.NOT_MODIFIED if same else HTTPStatus.OK)
        self._headers({"ETag": tag, "Content-Security-Policy": policy, "Content-Type": kind, **(more or {})})
        self._body(b"" if same else content, len(content) if not same else None)

    def _say(self, status: HTTPStatus, text: str, more: Mapping[str, str] | None = None) -> None:
        """A line of text."""
        self.send_response(status)
        self._headers({"Content-Security-Policy": OURS, "Content-Type": "text/plain; charset=utf-8", **(more or {})})
        self._body(text.encode(), len(text.encode()))

    def _headers(self, more: Mapping[str, str]) -> None:
        for name, value in {**HEADERS, **more}.items():
            self.send_header(name, value)

    def _body(self, content: bytes, length: int | None) -> None:
        if length is not None:
            self.send_header("Content-Length", str(length))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What the parent calls where a request is none: a line of text like our own."""
        self.close_connection = True
        self.command = getattr(self, "command", None) or "GET"
        self._say(HTTPStatus(code), f"{HTTPStatus(code).phrase}.\n")

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: an address may hold the token."""
