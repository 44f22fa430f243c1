"""A server of files on this machine, which understands ranges and does wrong what it is asked to do wrong."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Shelf:
    """`files` by their paths. `cut`: bytes after which a connection ends, by path; `status`: what is answered instead;
    `whole`: ranges are ignored; `tag`: what validates a file. `asked` are the paths and ranges that were asked for."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    cut: dict[str, int] = field(default_factory=dict)
    status: dict[str, int] = field(default_factory=dict)
    whole: bool = False
    chunked: bool = False
    tag: str = "ETag"
    asked: list[tuple[str, str]] = field(default_factory=list)

    def validator(self, path: str) -> str:
        return f'"{hash(self.files[path])}"' if self.tag == "ETag" else f"date {hash(self.files[path])}"


@contextmanager
def serving() -> Iterator[Shelf]:
    """A shelf that is served inside the block."""
    shelf = Shelf()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            path, span = self.path.lstrip("/"), self.headers.get("Range", "")
            shelf.asked.append((path, span))
            self.close_connection = True
            if (code := shelf.status.get(path, 200 if path in shelf.files else 404)) != 200:
                self.send_error(code)
                return
            content, start = shelf.files[path], 0
            if span and not shelf.whole and self.headers.get("If-Range") == shelf.validator(path):
                start = int(span.removeprefix("bytes=").rstrip("-"))
            if start and start >= len(content):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(content)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            if shelf.tag:
                self.send_header(shelf.tag, shelf.validator(path))
            body = content[start : start + shelf.cut.get(path, len(content))]
            if shelf.chunked:
                self.send_header("Transfer-Encoding", "chunked")
                body = b"%x\r\n%s" % (len(content) - start, body) + (b"" if path in shelf.cut else b"\r\n0\r\n\r\n")
            else:
                self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    shelf.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield shelf
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
