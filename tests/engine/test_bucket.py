"""Buckets of S3, as a real server answers: objects are written once where that is asked, and what is wrong is said."""

import time
import urllib.request

import buckets
import pytest

from transferscope.engine import bucket
from transferscope.engine.bucket import Bucket
from transferscope.errors import UserError

pytest.importorskip("moto")
s3fs = pytest.importorskip("s3fs")


@pytest.fixture(autouse=True)
def _nothing_known():
    """Clients read the environment when they are made: each test makes its own."""
    yield
    bucket._opened.cache_clear()
    s3fs.S3FileSystem.clear_instance_cache()


def test_objects_come_back_as_they_were_written(tmp_path) -> None:
    found = Bucket(buckets.bucket("objects") + "/store/")
    assert found.names("a") == {} and found.read("a/one") is None and not found.exists("a/one")
    found.write("a/one", b"1")
    (tmp_path / "two").write_bytes(b"22")
    found.put({"a/b/two": tmp_path / "two"})
    assert {name: said.size for name, said in found.names("a").items()} == {"b/two": 2, "one": 1}
    assert all(abs(said.written - time.time()) < 300 for said in found.names("a").values())
    assert found.read_all(["a/one", "a/none", "a/b/two"]) == {"a/one": b"1", "a/b/two": b"22"}
    assert found.get("a/b/two", tmp_path / "back") and (tmp_path / "back").read_bytes() == b"22"
    assert not found.get("a/none", tmp_path / "none") and not (tmp_path / "none").exists()
    assert found.through("a/one", lambda file: file.read()) == b"1" and found.through("a/none", list) is None
    found.delete(["a/one", "a/none"])
    assert [*found.names("")] == ["a/b/two"]


def test_an_object_is_created_once(tmp_path) -> None:
    found = Bucket(buckets.bucket("once"))
    assert found.create("one", b"mine") and not found.create("one", b"yours")
    assert found.create("one", b"mine"), "the same again, as when an answer was lost"
    assert found.read("one") == b"mine"


@pytest.mark.parametrize(
    ("url", "variables", "sentence"),
    [
        ("s3://told", {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, "s3://told cannot be reached"),
        ("s3://told", {"AWS_ENDPOINT_URL": "http://nowhere.invalid"}, "s3://told cannot be reached"),
        ("s3://absent/store", {}, "s3://absent/store is not there: make the bucket first"),
        ("s3://told", {"AWS_ACCESS_KEY_ID": "", "AWS_EC2_METADATA_DISABLED": "true"}, "no credentials were found"),
        ("s3://told", {"AWS_ACCESS_KEY_ID": "nobody"}, "refused these credentials"),
        ("s3://", {}, "names no bucket; write s3://BUCKET/PREFIX."),
        ("s4://told", {}, "'s4://' is no kind of bucket; known: s3, gs, az, memory."),
    ],
)
def test_what_is_wrong_with_a_bucket_is_one_sentence_and_soon(monkeypatch, tmp_path, url, variables, sentence) -> None:
    buckets.bucket("told")
    monkeypatch.setenv("HOME", str(tmp_path))
    for name, value in variables.items():
        monkeypatch.delenv(name) if value == "" else monkeypatch.setenv(name, value)
    checks = variables.get("AWS_ACCESS_KEY_ID") == "nobody"
    _server_checks_keys(checks)
    began = time.monotonic()
    try:
        with pytest.raises(UserError) as raised:
            Bucket(url).names("done")
    finally:
        _server_checks_keys(False)
    assert sentence in str(raised.value) and "\n" not in str(raised.value)
    assert time.monotonic() - began < 60  # a server that hangs is waited for so long, four times


def _server_checks_keys(checks: bool) -> None:
    count = b"0" if checks else b"inf"
    plain = {"Content-Type": "text/plain"}
    where = f"{buckets.endpoint()}/moto-api/reset-auth"
    urllib.request.urlopen(urllib.request.Request(where, data=count, headers=plain)).close()
