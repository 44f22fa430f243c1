"""The server on a real study and over real HTTP: what it shows, what it refuses, and that it leaves the store alone."""

import http.client
import json
import os
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from smoke import images, study

from transferscope import atomic_files, run_status
from transferscope.console.arguments import planned
from transferscope.engine import integrity
from transferscope.engine.artifact import own_digest
from transferscope.engine.step import Step
from transferscope.engine.store import Store
from transferscope.serving import study_state as looking
from transferscope.serving.server import Server
from transferscope.serving.study_state import Watched

TOKEN = "0123456789abcdefXYZ"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study whose five steps (the images, two arms with two seeds each) are all to be done."""
    folder = tmp_path_factory.mktemp("served")
    images.write(folder / "images", each=10)
    from safetensors.torch import save_file
    from smoke import nets

    save_file(nets.weights(seed=1), folder / "weights.safetensors")
    (folder / "study.yaml").write_text(study.text("transfer"), encoding="utf-8")
    return folder


@dataclass
class Served:
    """A server of a study in this process, and how a browser would ask it."""

    folder: Path
    store: Store
    steps: dict[str, Step]
    server: Server

    def ask(self, path: str, method: str = "GET", **headers: str) -> tuple[http.client.HTTPResponse, bytes]:
        line = http.client.HTTPConnection("127.0.0.1", self.server.server_address[1], timeout=60)
        try:
            line.request(method, path, headers=headers)
            answer = line.getresponse()
            return answer, answer.read()
        finally:
            line.close()

    def json(self, path: str) -> Any:
        answer, content = self.ask(path)
        assert answer.status == 200, content
        return json.loads(content)


@pytest.fixture
def served(written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    yield from serving(written, tmp_path, monkeypatch, None)


@pytest.fixture
def guarded(written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    yield from serving(written, tmp_path, monkeypatch, TOKEN)


def serving(written: Path, folder: Path, patched: pytest.MonkeyPatch, token: str | None) -> Iterator[Served]:
    patched.setattr(looking, "FRESH", 0.0)
    patched.setattr(atomic_files, "_closed", set())  # reading a store only holds for a whole process
    own = Path(shutil.copytree(written, folder / "study"))
    opened = Watched(own / "study.yaml", partial(planned, own / "study.yaml", None, read_only=True))
    with Server("127.0.0.1", 0, token, opened) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        yield Served(own, opened.store, {step.key: step for step in opened.steps.steps}, server)
        server.shutdown()
        thread.join()


def trains(one: Served) -> list[Step]:
    return [step for step in one.steps.values() if step.task == "train"]


def put(one: Served, step: Step, rows: list[dict[str, Any]], log: str = "") -> Path:
    """The result of a step, as a worker leaves it."""
    folder = one.store.path(step.task, step.key)
    folder.mkdir(parents=True)
    (folder / "rows.json").write_text(json.dumps(rows))
    (folder / "log.txt").write_text(log)
    said = {"task": step.task, "key": step.key, "params": {}, "seconds": 4.5, "files": integrity.written(folder)}
    atomic_files.write_json(folder / "step.json", {**said, "digest": own_digest(said)})
    return folder


def epochs(*scores: float) -> list[dict[str, Any]]:
    return [
        {"epoch": n, "metric": "accuracy", "val_metric": score, "val_loss": 1 - score} for n, score in enumerate(scores)
    ]


def test_the_states_of_steps(served: Served) -> None:
    first, second, third, fourth = trains(served)
    put(served, next(step for step in served.steps.values() if step.task == "ingest"), [])
    put(served, first, epochs(0.3, 0.6))
    scratch = served.store.scratch("train", second.key)
    scratch.mkdir(parents=True)
    atomic_files.write_json(scratch / "curve.json", epochs(0.2))
    before = served.json("/state")
    assert before["study"] == "smoke" and before["page"] is None and before["runs"] == []
    assert {one["key"]: one["state"] for one in before["steps"]}[second.key] == "begun"
    with run_status.Live(served.store, "smoke", 4, 2, lambda event, what: None, lambda: 90.0) as told:
        told("started", {"key": second.key})
        told("progress", {"key": second.key, "epoch": 1, "epochs": 2, "batch": 2, "batches": 4})
        told("started", {"key": third.key})
        told("ended", {"key": third.key, "status": "failed", "seconds": 1.0, "error": "<b>too hot</b>"})
        limit = time.monotonic() + 30
        while not (state := served.json("/state"))["counts"].get("failed") and time.monotonic() < limit:
            time.sleep(0.05)
        steps = {one["key"]: one for one in state["steps"]}
        assert [steps[step.key]["state"] for step in trains(served)] == ["done", "running", "failed", "waiting"]
        assert steps[first.key]["seconds"] == 4.5
        assert steps[second.key]["share"] == 0.25 and steps[second.key]["epochs"] == 2
        assert steps[third.key]["error"] == "<b>too hot</b>", "told as it is: the page makes text of it"
        assert steps[second.key]["name"].startswith("train shapes ")
        (run,) = state["runs"]
        assert 60 < run["left"] <= 90 and (run["total"], run["workers"], run["unknown"]) == (4, 2, 0)
        told("started", {"key": "f" * 24})
        while not (run := served.json("/state")["runs"][0])["unknown"] and time.monotonic() < limit:
            time.sleep(0.05)
        assert run["unknown"] == 1, "a step of a run with another --set"
    after = served.json("/state")
    assert after["runs"] == [] and after["to_do"] == 3
    memo = served.store.root / "memo" / "failures.json"  # what `battery.remember` writes
    memo.parent.mkdir()
    atomic_files.write_json(memo, {third.key: "too hot"})
    assert served.json("/state")["counts"] == {"done": 2, "begun": 1, "failed": 1, "waiting": 1}
    assert fourth.key in served.steps


def test_curves_grow_and_end_as_the_result(served: Served) -> None:
    first, second, *_ = trains(served)
    put(served, first, epochs(0.3, 0.6, 0.7))
    scratch = served.store.scratch("train", second.key)
    scratch.mkdir(parents=True)
    assert [run["y"] for run in served.json("/curves")["panels"][0]["runs"]] == [[0.3, 0.6, 0.7]]
    for scores in ((0.2,), (0.2, 0.5)):
        atomic_files.write_json(scratch / "curve.json", epochs(*scores))
        (panel,) = served.json("/curves?of=val_metric")["panels"]
        assert (panel["title"], panel["metric"]) == ("shapes", "accuracy")
        assert [run["y"] for run in panel["runs"]] == [[0.3, 0.6, 0.7], list(scores)]
        assert panel["runs"][1]["x"] == list(range(len(scores))) and panel["runs"][1]["epochs"] == 2
    assert served.json("/curves?of=val_loss")["panels"][0]["runs"][0]["y"] == [0.7, 0.4, 0.3]
    assert served.ask("/curves?of=secret")[0].status == 404
    (scratch / "curve.json").write_text('[{"epoch": 0, "val_metric": "high"}, 7, {"epoch": 1, "val_metric": 1e999}]')
    assert len(served.json("/curves")["panels"][0]["runs"]) == 1, "what is no number is no point"
    (scratch / "curve.json").unlink()
    (scratch / "curve.json").symlink_to(served.store.path("train", first.key) / "rows.json")
    assert len(served.json("/curves")["panels"][0]["runs"]) == 1, "a link is not read"


def test_logs_have_their_end_without_the_colours(served: Served) -> None:
    first, second, third, _ = trains(served)
    put(served, first, [], log="all \x1b[31mwell\x1b[0m\n")
    (part,) = served.json(f"/log?key={first.key}")["parts"]
    assert part["text"] == "all well\n" and part["cut"] == 0
    scratch = served.store.scratch("train", second.key)
    scratch.mkdir(parents=True)
    (scratch / "log.txt").write_bytes(b"0" * looking.TAIL + b" 10%\r 20%\nend \xff\x07")
    (part,) = served.json(f"/log?key={second.key}")["parts"]
    assert part["text"].endswith(" 20%\nend �\\x07") and part["cut"] > 0
    (served.store.root / "failures").mkdir()
    (served.store.root / "failures" / f"train-{third.key}.txt").write_text("Traceback: <script>")
    assert served.json(f"/log?key={third.key}")["parts"][0]["text"] == "Traceback: <script>"
    (scratch / "log.txt").unlink()
    (scratch / "log.txt").symlink_to("/etc/passwd")
    assert served.json(f"/log?key={second.key}")["parts"] == []
    for key in ("", "../../etc/passwd", "0" * 24):
        assert served.ask(f"/log?key={key}")[0].status == 404


def test_the_page_and_what_it_links_to_and_nothing_else(served: Served, tmp_path: Path) -> None:
    (tmp_path / "secret.svg").write_text("secret")
    assert served.ask("/report.html")[0].status == 404
    (served.folder / "report.html").write_text("<p>found</p>")
    for name in ("figures/a.svg", "figures/a.pdf", "tables/a.csv", "results.json", "resolved.yaml"):
        (served.folder / name).parent.mkdir(exist_ok=True)
        (served.folder / name).write_text("content")
        answer, content = served.ask(f"/{name}")
        assert (answer.status, content) == (200, b"content")
        assert "sandbox" in str(answer.getheader("Content-Security-Policy"))
    answer, content = served.ask("/report.html?at=1")
    assert (answer.status, content) == (200, b"<p>found</p>")
    assert served.json("/state")["page"] == pytest.approx((served.folder / "report.html").stat().st_mtime)
    (served.folder / "figures" / "out.svg").symlink_to(tmp_path / "secret.svg")
    (served.folder / "figures" / "notes.txt").write_text("secret")
    shutil.copytree(served.folder / "figures", tmp_path / "far")
    refused = (
        "/study.yaml",
        "/weights.safetensors",
        "/images/disc/001.png",
        "/figures/",
        "/figures/out.svg",
        "/figures/notes.txt",
        "/figures/../study.yaml",
        "/figures/..%2Fstudy.yaml",
        "/figures/..%2f..%2fsecret.svg",
        "/figures/%2e%2e/%2e%2e/secret.svg",
        "/..%2Fsecret.svg",
        "//etc/passwd",
        f"/figures/{'%2F'.join(['..'] * 12)}%2Fetc%2Fpasswd.svg",
        "/figures/a.svg/b.svg",
        "/figures/a.svg%00",
        "/figures/%ff.svg",
        "/store/memo/failures.json",
        "/report.html/",
        "/%00",
    )
    for path in refused:
        answer, content = served.ask(path)
        assert answer.status == 404 and b"secret" not in content and b"root:" not in content, path
    shutil.rmtree(served.folder / "figures")
    (served.folder / "figures").symlink_to(tmp_path / "far")
    assert served.ask("/figures/a.svg")[0].status == 404


def test_the_own_page_loads_nothing_from_elsewhere(served: Served) -> None:
    for path in ("/", "/page.js", "/page.css"):
        answer, content = served.ask(path)
        text = content.decode()
        assert answer.status == 200 and answer.getheader("X-Content-Type-Options") == "nosniff"
        assert "default-src 'none'; script-src 'self'" in str(answer.getheader("Content-Security-Policy"))
        assert "//" not in text.replace("http://www.w3.org/2000/svg", "").replace("// ", "")
        assert "innerHTML" not in text and "insertAdjacentHTML" not in text
    answer, content = served.ask("/", "HEAD")
    assert (answer.status, content) == (200, b"") and int(str(answer.getheader("Content-Length"))) > 1000
    answer, _ = served.ask("/page.js")
    again, content = served.ask("/page.js", **{"If-None-Match": str(answer.getheader("ETag"))})
    assert (again.status, content) == (304, b"")


def test_another_name_is_refused(served: Served) -> None:
    for path in ("/", "/state", "/page.js", "/report.html"):
        answer, content = served.ask(path, Host="evil.example:8000")
        assert answer.status == 421 and b"smoke" not in content
    assert served.ask("/", Host="localhost:1")[0].status == 200


def test_only_reading_is_possible(served: Served) -> None:
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        answer, content = served.ask("/state", method)
        assert answer.status == 501 and content == b"Not Implemented.\n"
    with socket.create_connection(served.server.server_address[:2]) as line:
        line.sendall(b"nonsense <script>\r\n\r\n")
        assert b"script" not in line.recv(4096).partition(b"\r\n\r\n")[2]


def test_the_token_is_asked_for_everywhere(guarded: Served) -> None:
    (guarded.folder / "report.html").write_text("<p>found</p>")
    everything = ("/", "/page.js", "/page.css", "/state", "/curves", "/log?key=1", "/report.html", "/nothing")
    for path in everything:
        answer, content = guarded.ask(path)
        assert answer.status == 401 and b"asks for the token" in content, path
        assert guarded.ask(path, Authorization=f"Bearer {TOKEN[:-1]}")[0].status == 401
        assert guarded.ask(path, Cookie=f"transferscope={TOKEN}")[0].status == 401
        assert guarded.ask(path, Authorization=f"Bearer {TOKEN}")[0].status == (
            404 if "log" in path or "noth" in path else 200
        )
    assert guarded.ask(f"/?token={TOKEN}x")[0].status == 401
    assert guarded.ask(f"/state?token={TOKEN}", Host="evil.example")[0].status == 421
    answer, content = guarded.ask(f"/?token={TOKEN}")
    assert (answer.status, answer.getheader("Location"), content) == (303, "/", b""), "it does not stay in the address"
    cookie = str(answer.getheader("Set-Cookie"))
    assert "HttpOnly" in cookie and "SameSite=Lax" in cookie
    assert guarded.ask("/state", Cookie=cookie.partition(";")[0])[0].status == 200
    away, _ = guarded.ask(f"//evil.example/?token={TOKEN}")
    assert away.getheader("Location") == "/", "nobody is led away with it"
    assert TOKEN in guarded.server.url


def test_the_store_stays_as_it_is(served: Served) -> None:
    first, second, *_ = trains(served)
    folder = put(served, first, epochs(0.3))
    (folder / "rows.json").write_text("[]")  # damaged since it was written
    scratch = served.store.scratch("train", second.key)
    scratch.mkdir(parents=True)
    (served.store.root / "memo").mkdir()
    before = {path: path.lstat().st_mtime_ns for path in (served.folder, *sorted(served.folder.rglob("*")))}
    for path in ("/state", "/curves", f"/log?key={first.key}", f"/log?key={second.key}", "/report.html"):
        served.ask(path)
    with served.store._lock("train", second.key):  # somebody else may hold or take any lock meanwhile
        served.json("/state")
    for lock in served.store.root.rglob("*.lock"):
        lock.unlink()
        before[lock.parent] = lock.parent.lstat().st_mtime_ns
    assert {path: path.lstat().st_mtime_ns for path in (served.folder, *sorted(served.folder.rglob("*")))} == before


def test_a_study_that_is_edited_is_planned_anew_and_a_broken_one_told(served: Served) -> None:
    file = served.folder / "study.yaml"
    text = file.read_text()
    file.write_text(text.replace("seeds: 2", "seeds: 3"))
    assert len(served.json("/state")["steps"]) == 7
    file.write_text(text.replace("seeds: 2", "sedes: 2"))
    state = served.json("/state")
    assert "sedes" in state["problem"] and len(state["steps"]) == 7
    file.write_text(text)
    os.utime(file)
    state = served.json("/state")
    assert state["problem"] == "" and len(state["steps"]) == 5
