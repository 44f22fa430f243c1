"""A study that is being trained, watched in a real browser: its curves grow, and serve ends when it is told to."""

import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from urllib.request import urlopen

import browser
import pytest
from browser import CHROMIUM
from smoke import images, nets, study
from smoke.command import started

FLAGS = [flag for flag in browser.FLAGS if flag != "--dump-dom" and "host-resolver" not in flag]
LOCAL = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A study of one run with 200 epochs, and nothing of it done."""
    from safetensors.torch import save_file

    folder = tmp_path / "study"
    images.write(folder / "images", each=10)
    save_file(nets.weights(seed=1), folder / "weights.safetensors")
    text = study.text("transfer").replace("epochs: 2", "epochs: 200").replace("seeds: 2", "seeds: 1")
    (folder / "study.yaml").write_text(text.replace("[random, pretrained]", "[random]"), encoding="utf-8")
    return folder


def until(what: Callable[[], object], *processes: subprocess.Popen[str]) -> None:
    limit = time.monotonic() + 300
    while not what():
        for process in processes:
            assert process.poll() is None, process.communicate()
        assert time.monotonic() < limit, "waited in vain"
        time.sleep(0.1)


def address(serve: subprocess.Popen[str]) -> str:
    assert serve.stdout is not None
    found = re.search(r"http://\S+/", serve.stdout.readline())
    assert found is not None, serve.communicate()
    return found[0]


def dom(url: str, profile: Path) -> str:
    """What the page is after some seconds of its own time."""
    command = [
        str(CHROMIUM),
        *FLAGS,
        LOCAL,
        "--virtual-time-budget=3000",
        "--dump-dom",
        f"--user-data-dir={profile}",
        url,
    ]
    return subprocess.run(command, capture_output=True, text=True, timeout=180, check=True).stdout


def points(page: str) -> int:
    """Of the longest line."""
    return max(map(int, re.findall(r'data-points="(\d+)"', page)), default=0)


@pytest.mark.slow
@pytest.mark.skipif(not CHROMIUM, reason="needs chromium on the PATH")
def test_curves_grow_while_a_run_goes_on_and_it_ends_with_a_browser_there(folder: Path, tmp_path: Path) -> None:
    serve = started("serve", cwd=folder)
    url = address(serve)
    run = started("run", cwd=folder, SMOKE_PAUSE="0.2")
    stays: list[subprocess.Popen[str]] = []
    try:
        until(lambda: b'"x":[0,1' in urlopen(f"{url}curves").read(), serve, run)
        first = dom(url, tmp_path / "profile")
        assert "1 running" in first and "train shapes random 0" in first and "A run of smoke on" in first
        until(
            lambda: f'"x":[{",".join(map(str, range(points(first) + 1)))}'.encode() in urlopen(f"{url}curves").read(),
            run,
        )
        second = dom(url, tmp_path / "profile")
        assert points(second) > points(first) >= 2, "a line that has grown"
        assert "data-points" in second and "epoch" in second
        command = [
            str(CHROMIUM),
            *FLAGS,
            LOCAL,
            "--remote-debugging-port=0",
            f"--user-data-dir={tmp_path / 'other'}",
            url,
        ]
        stays.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True))
        time.sleep(3)
        serve.send_signal(signal.SIGTERM)
        out, err = serve.communicate(timeout=60)
        assert serve.returncode == 143 and err.strip().endswith("Stopped.") and "Traceback" not in out + err
        assert run.poll() is None, "the run goes on"
    finally:
        for process in (*stays, run, serve):
            if process.poll() is None:
                process.terminate()
                process.wait(timeout=120)


def test_it_listens_here_alone_and_ends_by_ctrl_c(folder: Path) -> None:
    before = sorted(path for path in folder.rglob("*"))
    serve = started("serve", "--log-file", "serve.log", cwd=folder)
    url = address(serve)
    assert url.startswith("http://127.0.0.1:") and urlopen(url).status == 200
    serve.send_signal(signal.SIGINT)
    out, err = serve.communicate(timeout=60)
    assert (serve.returncode, err) == (130, "Stopped.\n"), out + err
    assert sorted(path for path in folder.rglob("*") if path.name != "serve.log") == before, "nothing was written"
    log = (folder / "serve.log").read_text()
    assert "WARNING Stopped." in log and "INFO ended with exit code 130" in log


def test_what_it_cannot_do_is_a_sentence(folder: Path, call) -> None:
    serve = started("serve", cwd=folder)
    port = address(serve).rpartition(":")[2].strip("/")
    taken = call("serve", "--port", port, cwd=folder)
    serve.terminate()
    serve.communicate(timeout=60)
    assert taken.code == 2 and "Cannot listen at 127.0.0.1" in taken.err and "Traceback" not in taken.err
    absent = call("serve", "nothing.yaml")
    assert absent.code == 2 and "nothing.yaml" in absent.err
    weak = call("serve", "--token", "short")
    assert weak.code == 2 and "--token: give 16" in weak.err
