"""A bucket of an object store (S3, Google Cloud, Azure): objects by name, and one sentence for what may go wrong."""

import logging
import re
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from transferscope.errors import UserError, did_you_mean

PACKAGES = {"s3": "s3fs", "gs": "gcsfs", "az": "adlfs", "memory": "fsspec"}  # what reads a scheme
EXTRAS = {"s3": "transferscope[cloud]", "gs": "transferscope[gs]", "az": "transferscope[az]", "memory": "fsspec"}
CONNECT = 5.0  # seconds in which a server has to be there
PERSISTS = 120.0  # seconds for which transfers are tried again, once the server has answered
WHEN = ("LastModified", "updated", "mtime", "last_modified", "created")  # of an object, by the libraries' own words
Of = TypeVar("Of")


class Object(NamedTuple):
    """What a listing says of an object: its bytes, and when it was written (seconds since 1970; 0 where unknown)."""

    size: int
    written: float


def is_url(place: str) -> bool:
    """Whether a place is in a bucket, and not on a disk."""
    return "://" in place


def check(url: str) -> None:
    """UserError for what is no address of a bucket, in this form: ``s3://bucket/prefix``."""
    scheme, _, rest = url.partition("://")
    if scheme not in PACKAGES:
        raise UserError(f"'{scheme}://' is no kind of bucket; {did_you_mean(scheme, list(PACKAGES))}")
    if not rest.strip("/") or rest.startswith("/"):
        raise UserError(f"'{url}' names no bucket; write {scheme}://BUCKET/PREFIX.")


class Bucket:
    """The objects below a prefix. Names have slashes; UserError says why the bucket cannot be used.

    `answered` is whether the server has been reached: from then on what fails for want of a connection is tried again.
    """

    def __init__(self, url: str) -> None:
        check(url)
        self.url, self.answered = url.rstrip("/"), False
        self._fs, self._base = _opened(self.url)

    def names(self, below: str) -> dict[str, Object]:
        """All objects below a folder, by their names there."""
        where = f"{self._base}/{below}"
        found = self._asked(lambda: self._listed(where))
        return {
            name.removeprefix(where).lstrip("/"): Object(int(said.get("size") or 0), _when(said))
            for name, said in sorted(found.items())
        }

    def exists(self, name: str) -> bool:
        return self._asked(lambda: bool(self._fs.exists(f"{self._base}/{name}")))

    def read(self, name: str) -> bytes | None:
        """The bytes of an object; None where there is none."""
        return self.read_all([name]).get(name)

    def read_all(self, names: Collection[str]) -> dict[str, bytes]:
        """The bytes of those of the objects that are there, many at a time."""
        if not names:
            return {}
        places = {f"{self._base}/{name}": name for name in names}

        def ask() -> dict[str, bytes]:
            found: Mapping[str, Any] = self._fs.cat([*places], on_error="return")
            for value in found.values():
                if isinstance(value, Exception) and not isinstance(value, FileNotFoundError):
                    raise value
            whole = {place.lstrip("/"): value for place, value in found.items() if not isinstance(value, Exception)}
            return {name: whole[place.lstrip("/")] for place, name in places.items() if place.lstrip("/") in whole}

        return self._asked(ask)

    def write(self, name: str, content: bytes) -> None:
        self._asked(lambda: self._fs.pipe_file(f"{self._base}/{name}", content))

    def create(self, name: str, content: bytes) -> bool:
        """Write an object where there is none (a conditional write): False where another was quicker."""

        def ask() -> bool:
            try:
                self._fs.pipe_file(f"{self._base}/{name}", content, mode="create")
                return True
            except (FileExistsError, OSError) as error:
                if isinstance(error, FileNotFoundError | PermissionError | ConnectionError | TimeoutError):
                    raise
                if (found := self._fs.cat([f"{self._base}/{name}"], on_error="omit")) == {}:
                    raise
                return bool(next(iter(found.values())) == content)  # an answer that was lost on the way

        return self._asked(ask)

    def put(self, files: Mapping[str, Path]) -> None:
        """Upload files by the names they get."""
        here, there = [str(file) for file in files.values()], [f"{self._base}/{name}" for name in files]
        self._asked(lambda: self._fs.put(here, there))

    def get(self, name: str, file: Path) -> bool:
        """Download an object to a file; False where there is none."""
        try:
            self._asked(lambda: self._fs.get_file(f"{self._base}/{name}", str(file)), absent=True)
        except FileNotFoundError:
            file.unlink(missing_ok=True)
            return False
        return True

    def through(self, name: str, use: Callable[[Any], Of]) -> Of | None:
        """What `use` makes of an open object, which it reads from front to end; None where there is none."""

        def ask() -> Of:
            with self._fs.open(f"{self._base}/{name}", "rb") as file:
                return use(file)

        try:
            return self._asked(ask, absent=True)
        except FileNotFoundError:
            return None

    def delete(self, names: Iterable[str]) -> None:
        """Delete objects; those that are gone already are none the less gone."""
        for name in names:
            with suppress(FileNotFoundError):
                self._asked(lambda name=name: self._fs.rm_file(f"{self._base}/{name}"), absent=True)  # type: ignore[misc]

    def _listed(self, where: str) -> dict[str, dict[str, Any]]:
        """What lies below a place. That nothing does is no error; that there is no such bucket is one."""
        found: dict[str, dict[str, Any]] = self._fs.find(where, detail=True)
        if not found and not self.answered:
            self._fs.ls(self._base.partition("/")[0] or "/", detail=False)
        return found

    def _asked(self, ask: Callable[[], Of], *, absent: bool = False) -> Of:
        """The answer to a question; with `absent` it may be that something is not there: FileNotFoundError."""
        limit = time.monotonic() + PERSISTS
        while True:
            try:
                found = ask()
                self.answered = True
                return found
            except FileNotFoundError as error:
                if absent:
                    raise
                raise UserError(self._sentence(error)) from None
            except Exception as error:  # every library has errors of its own
                if absent and getattr(error, "status", None) == 404:  # gcsfs before 2026 says so of a download
                    raise FileNotFoundError(str(error)) from None
                if not self.answered or not _may_pass(error) or time.monotonic() > limit:
                    raise UserError(self._sentence(error)) from None
                time.sleep(2.0)

    def _sentence(self, error: Exception) -> str:
        name, where = type(error).__name__, f"resources.store: {self.url}"
        if isinstance(error, FileNotFoundError) or "NotFound" in name:
            return f"{where} is not there: make the bucket first, or correct its name."
        if isinstance(error, PermissionError) or "Forbidden" in name:
            return f"{where} refused these credentials ({_line(error)}): correct them, or the rights they give."
        if "Credentials" in name or "Token" in name:
            return f"{where}: no credentials were found ({_line(error)}); give them as its other tools take them."
        if _may_pass(error):
            return f"{where} cannot be reached ({_line(error)}): look at the network and at the address of the server."
        return f"{where} cannot be used ({name}: {_line(error)})."


@cache
def _opened(url: str) -> tuple[Any, str]:
    """The file system of a bucket, and the place in it."""
    import fsspec

    scheme = url.partition("://")[0]
    logging.getLogger(PACKAGES[scheme]).setLevel(logging.CRITICAL)  # ours is the one sentence of it
    how: dict[str, Any] = {"use_listings_cache": False}
    if scheme == "s3":
        retries = {"max_attempts": 2, "mode": "standard"}
        how["config_kwargs"] = {"connect_timeout": CONNECT, "read_timeout": 60, "retries": retries}
    try:
        system, base = fsspec.core.url_to_fs(url, **how)
    except ImportError:
        raise UserError(
            f"resources.store: {url} needs a package that is not here: python -m pip install '{EXTRAS[scheme]}'."
        ) from None
    except Exception as error:  # of the credentials of Google and Azure, which are looked for at once
        raise UserError(f"resources.store: {url} cannot be opened ({_line(error)}).") from None
    return system, str(base)


def _may_pass(error: Exception) -> bool:
    """Whether an error is one of the connection, or of a server that is busy."""
    words = ("Timeout", "Connection", "Connector", "HTTPClient", "ServerError", "Payload", "Incomplete", "Disconnected")
    busy = isinstance(error, OSError) and error.errno in (16, 121)  # what s3fs makes of 503 and 500
    return busy or any(word in kind.__name__ for kind in type(error).__mro__ for word in words)


def _line(error: Exception) -> str:
    said = re.sub(r"\?[^\s\"']+", "", " ".join(str(error).split()))  # what was asked of the server, of no use to anyone
    return (said[:200] or type(error).__name__).rstrip(".")


def _when(said: Mapping[str, Any]) -> float:
    found = next((said[name] for name in WHEN if said.get(name)), 0.0)
    if isinstance(found, str):
        found = datetime.fromisoformat(found)
    return found.timestamp() if isinstance(found, datetime) else float(found)
