"""Who may ask: by the name they call this server, and by a token where one is asked for."""

import hmac
import ipaddress
import re
import secrets
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING, Literal
from urllib.parse import parse_qs

from transferscope.errors import UserError

if TYPE_CHECKING:
    from email.message import Message

TOKEN = re.compile(r"[A-Za-z0-9_.~-]{16,256}")
LOCAL = "localhost"


def chosen(host: str, given: str | None) -> str | None:
    """The token to ask for: the one that is `given`, else on other addresses than those of this machine alone a new
    one, and there none. UserError for one that is easily guessed or no part of an address."""
    if not given:
        return None if is_loopback(host) else secrets.token_urlsafe(24)
    if not TOKEN.fullmatch(given):
        raise UserError("--token: give 16 to 256 letters, digits and -_.~ (or nothing, and one is made).")
    return given


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address, or a name of it."""
    if host.lower().rstrip(".") == LOCAL:
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True)
class Door:
    """Lets in who calls the server by a name of its own (so that no page of another site can, whose name was made to
    lead here) and knows its `token`, if there is one. `host` is what it listens at, `port` names its cookie."""

    host: str
    port: int
    token: str | None

    @property
    def cookie(self) -> str:
        return f"transferscope-{self.port}"  # ports of a machine share their cookies

    def knows(self, called: str) -> bool:
        """Whether the `Host` of a request is a name of this server. Its port may be another: that of a tunnel."""
        found = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]]+)(:\d{1,5})?", called.strip())
        if found is None:
            return False
        name = found[1].strip("[]").lower().rstrip(".")
        if is_loopback(name):
            return True
        if is_loopback(self.host):
            return False
        own = {self.host, socket.gethostname(), socket.getfqdn()}
        return _is_address(name) or name in {one.lower().rstrip(".") for one in own}

    def opens(self, headers: "Mapping[str, str] | Message", query: str) -> Literal["yes", "by address", "no"]:
        """Whether a request knows the token: "by address" where it stands in the query, which is not to stay there."""
        if self.token is None:
            return "yes"
        said = headers.get("Authorization") or ""
        if said.startswith("Bearer ") and self._is(said.removeprefix("Bearer ").strip()):
            return "yes"
        if any(self._is(one) for one in parse_qs(query).get("token", ())):
            return "by address"
        try:
            kept = SimpleCookie(headers.get("Cookie") or "").get(self.cookie)
        except CookieError:
            kept = None
        return "yes" if kept is not None and self._is(kept.value) else "no"

    def kept(self) -> str:
        """The cookie that spares asking for the token again: for this site, and unseen by scripts."""
        return f"{self.cookie}={self.token}; HttpOnly; SameSite=Lax; Path=/"

    def _is(self, said: str) -> bool:
        return self.token is not None and hmac.compare_digest(said.encode(errors="replace"), self.token.encode())


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
