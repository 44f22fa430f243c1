"""Who is let in: by the name the server is called, and by the token."""

import socket

import pytest

from transferscope.errors import UserError
from transferscope.serving import access
from transferscope.serving.access import Door

TOKEN = "0123456789abcdefXYZ"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "localhost", "LOCALHOST", "::1", "[::1]"])
def test_this_machine_alone_needs_no_token(host: str) -> None:
    assert access.is_loopback(host) and access.chosen(host, None) is None
    assert access.chosen(host, TOKEN) == TOKEN, "it may have one"


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "192.168.1.7", "example.org", "localhost.example.org", "127.0.0.1.nip.io"]
)
def test_every_other_address_has_one(host: str) -> None:
    first, second = access.chosen(host, None), access.chosen(host, "")
    assert first and second and first != second and min(len(first), len(second)) >= 32


@pytest.mark.parametrize(
    "token", ["short", "with space and more text", "x" * 300, "ümlautümlautümlaut", "a&token=0123456789ab"]
)
def test_a_token_that_is_guessed_or_breaks_an_address_is_refused(token: str) -> None:
    with pytest.raises(UserError, match="--token: give 16 to 256 letters"):
        access.chosen("127.0.0.1", token)


@pytest.mark.parametrize(
    ("host", "called", "known"),
    [
        ("127.0.0.1", "127.0.0.1:8000", True),
        ("127.0.0.1", "localhost:9999", True),  # through a tunnel that has another port
        ("127.0.0.1", "LocalHost.", True),
        ("127.0.0.1", "[::1]:8000", True),
        ("127.0.0.1", "evil.example:8000", False),  # a name that was made to lead here
        ("127.0.0.1", "127.0.0.1.evil.example", False),
        ("127.0.0.1", "localhost.evil.example", False),
        ("127.0.0.1", "192.168.1.7:8000", False),
        ("127.0.0.1", "", False),
        ("127.0.0.1", "localhost:80:80", False),
        ("127.0.0.1", "evil.example@localhost", False),
        ("0.0.0.0", "192.168.1.7:8000", True),
        ("0.0.0.0", "localhost", True),
        ("0.0.0.0", f"{socket.gethostname()}:80", True),
        ("0.0.0.0", "evil.example", False),
        ("login.cluster", "login.cluster:80", True),
        ("login.cluster", "evil.cluster", False),
    ],
)
def test_the_names_it_goes_by(host: str, called: str, known: bool) -> None:
    assert Door(host, 8000, None).knows(called) is known


@pytest.mark.parametrize(
    ("headers", "query", "opens"),
    [
        ({}, "", "no"),
        ({}, f"token={TOKEN}", "by address"),
        ({}, f"a=b&token={TOKEN}", "by address"),
        ({}, f"token={TOKEN}x", "no"),
        ({}, f"token={TOKEN[:-1]}", "no"),
        ({}, "token=", "no"),
        ({}, "token=%FF%FE", "no"),
        ({"Authorization": f"Bearer {TOKEN}"}, "", "yes"),
        ({"Authorization": f"Basic {TOKEN}"}, "", "no"),
        ({"Authorization": "Bearer "}, "", "no"),
        ({"Cookie": f"transferscope-8000={TOKEN}"}, "", "yes"),
        ({"Cookie": f"other=1; transferscope-8000={TOKEN}"}, "", "yes"),
        ({"Cookie": f"transferscope-9000={TOKEN}"}, "", "no"),
        ({"Cookie": "transferscope-8000=\udcff"}, "", "no"),
        ({"Cookie": '"; ;=,'}, "", "no"),
    ],
)
def test_the_token_opens(headers: dict[str, str], query: str, opens: str) -> None:
    assert Door("0.0.0.0", 8000, TOKEN).opens(headers, query) == opens
    assert Door("127.0.0.1", 8000, None).opens(headers, query) == "yes"
