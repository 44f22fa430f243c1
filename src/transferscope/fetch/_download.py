"""One file over HTTP: what was begun is gone on with, as long as the server still has the same file."""

import errno
import hashlib
import http.client
import json
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from transferscope import atomic_files
from transferscope.errors import UserError
from transferscope.version import VERSION

CHUNK = 1 << 20  # bytes
PATIENCE = 60.0  # seconds without a byte
TELLS = 10.0  # seconds between two words on how far it is


class Came(NamedTuple):
    """What came: bytes and SHA-256."""

    bytes: int
    sha256: str


def part_of(file: Path) -> Path:
    """Where a file lies until all of it came and was found to be what it should be."""
    return file.with_name(f"{file.name}.part")


def download(url: str, file: Path, page: str, hold: Callable[[Came], object], tell: Callable[[str], object]) -> None:
    """Download `url` to `file`, by way of ``file.part``; ``file.part.json`` keeps what tells the server's file from
    another. UserError says what went wrong; what came by then is kept, and the next call goes on from there. `page` is
    where people read of the file; what `hold` raises of what came drops it."""
    part, note = part_of(file), file.with_name(f"{file.name}.part.json")
    try:
        came = _download(url, file, part, note, tell)
    except urllib.error.HTTPError as error:
        if error.code in (404, 410):
            why = f"{url} is not there ({error.code}); see {page}, or name another place with --mirror."
        else:
            why = f"{url} was refused ({error.code} {error.reason}); try again later, or name another place (--mirror)."
        raise UserError(f"fetch: {why}") from None
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
        reason = getattr(error, "reason", None) or error
        why = f"the connection to {url} failed ({type(error).__name__}: {reason}); what came is kept"
        raise UserError(f"fetch: {why}: look at the network and run it again.") from None
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise UserError(f"fetch: the disk of {file.parent} is full; make room and run it again.") from None
        raise
    try:
        hold(came)
    except UserError:
        part.unlink()
        note.unlink(missing_ok=True)
        raise
    part.replace(file)
    note.unlink()


def _download(url: str, file: Path, part: Path, note: Path, tell: Callable[[str], object]) -> Came:
    known, have = _begun(url, part, note)
    headers = {"User-Agent": f"transferscope/{VERSION}", "Accept-Encoding": "identity"}
    if have:
        headers |= {"Range": f"bytes={have}-", "If-Range": str(known["validator"])}
    try:
        answer = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=PATIENCE)
    except urllib.error.HTTPError as error:
        if error.code != 416 or not have:
            raise
        if error.headers.get("Content-Range") == f"bytes */{have}":  # all of it is here
            with part.open("rb") as whole_file:
                return Came(have, hashlib.file_digest(whole_file, "sha256").hexdigest())
        part.unlink()
        return _download(url, file, part, note, tell)
    with answer:
        goes_on = answer.status == 206 and _validator(answer) in ("", known["validator"])
        if answer.status == 206 and not (goes_on and _start(answer) == have):
            part.unlink()  # an answer for another file, or for another place in it
            tell(f"{file.name} has changed since the first part came: it is fetched from the beginning.")
            return _download(url, file, part, note, tell)
        if have and not goes_on:
            same = _validator(answer) == known["validator"]
            why = "the server does not send parts of files" if same else "it has changed since the first part came"
            tell(f"{file.name} is fetched from the beginning: {why}.")
            have = 0
        length = answer.headers.get("Content-Length")
        size = have + int(length) if length is not None else None
        if size is not None and size - have > (free := shutil.disk_usage(part.parent).free):
            raise UserError(
                f"fetch: {file.name} takes {(size - have) / 1e9:.1f} GB more, and the disk of {part.parent} has "
                f"{free / 1e9:.1f} GB; make room and run it again."
            )
        if not goes_on:
            part.unlink(missing_ok=True)
            atomic_files.write_json(note, {"url": url, "validator": _validator(answer)})
        came = _written(answer, part, have, lambda done: tell(f"{file.name}: {_far(done, size)}"))
    if size is not None and came.bytes != size:
        raise UserError(
            f"fetch: the connection to {url} ended after {came.bytes:,} of {size:,} bytes, which are kept; run it "
            "again."
        )
    return came


def _begun(url: str, part: Path, note: Path) -> tuple[dict[str, Any], int]:
    """What is known of the file that was begun, and the bytes of it that are here."""
    with suppress(OSError, ValueError):
        known = dict(json.loads(note.read_text(encoding="utf-8")))
        if known["url"] == url and known["validator"]:
            return known, part.stat().st_size
    return {"validator": ""}, 0


def _validator(answer: http.client.HTTPResponse) -> str:
    """What tells this state of a file from others: a strong ETag, else its date; "" where the server says neither."""
    tag = answer.headers.get("ETag", "")
    return tag if tag and not tag.startswith("W/") else answer.headers.get("Last-Modified", "")


def _start(answer: http.client.HTTPResponse) -> int:
    """At which byte a partial answer begins; -1 where it does not say."""
    first = answer.headers.get("Content-Range", "").removeprefix("bytes ").partition("-")[0]
    return int(first) if first.isdigit() else -1


def _written(answer: http.client.HTTPResponse, part: Path, have: int, tell: Callable[[int], object]) -> Came:
    """Append an answer to what is here, and hash both; a connection that breaks leaves what came."""
    digest, told = hashlib.sha256(), time.monotonic()
    with part.open("ab") as file:
        with part.open("rb") as before:
            while block := before.read(CHUNK):
                digest.update(block)
        while block := answer.read1(CHUNK):  # what came is written, whatever becomes of the rest
            file.write(block)
            digest.update(block)
            have += len(block)
            if time.monotonic() - told > TELLS:
                told = time.monotonic()
                tell(have)
    return Came(have, digest.hexdigest())


def _far(done: int, size: int | None) -> str:
    return f"{done / 1e9:.2f} GB" if size is None else f"{done / 1e9:.2f} of {size / 1e9:.2f} GB"
