"""Run folders are read in one place, which knows their files by name; nobody else does."""

import ast
import json
from pathlib import Path

import pytest

import transferscope
from transferscope.engine.artifact import Artifact
from transferscope.tasks import restore

ROOT = Path(transferscope.__file__).parent
WRITERS = {"tasks/loop.py", "tasks/restore.py", "tasks/train.py", "tasks/resume.py", "engine/integrity.py"}
NAMES = ("run.json", "timing.json", "epoch-", "predictions-", "final.safetensors")


@pytest.fixture
def run(tmp_path) -> Artifact:
    for name in ("epoch-10000", "epoch-9999", "epoch-0000", "epoch-0002", "best", "final", "predictions-final"):
        (tmp_path / f"{name}.safetensors").touch()
    said = {"tensors_matched": 1, "tensors_total": 2, "parameters_matched": 1, "parameters_total": 2, "share": 0.5}
    (tmp_path / "run.json").write_text(json.dumps({"best_epoch": 3, "loaded": said}))
    (tmp_path / "timing.json").write_text(json.dumps([{"train_seconds": 1.5, "eval_seconds": 9}, {"train_seconds": 2}]))
    return Artifact(tmp_path)


def test_what_a_run_left_is_read(run):
    assert restore.saved_epochs(run) == [0, 2, 9999, 10000], "by number, not by letters"
    assert [restore.saved(epoch) for epoch in (0, 2, 10000)] == ["epoch-0000", "epoch-0002", "epoch-10000"]
    assert all(restore.file(run, restore.saved(epoch)).exists() for epoch in restore.saved_epochs(run))
    assert [restore.file(run, at).stem for at in ("start", "end", "best")] == ["epoch-0000", "final", "best"]
    assert restore.best_epoch(run) == 3 and restore.seconds(run) == 3.5
    assert restore.loaded(run).share == 0.5


def test_what_a_run_did_not_leave(run):
    (run.path / "run.json").write_text(json.dumps({"best_epoch": 3, "loaded": None}))
    (run.path / "timing.json").unlink()
    assert restore.loaded(run) is None
    assert restore.timing(run) is None
    with pytest.raises(FileNotFoundError):
        restore.seconds(run)


def test_nobody_else_knows_the_names_of_the_files():
    found = []
    for file in sorted(ROOT.rglob("*.py")):
        inside = file.relative_to(ROOT).as_posix()
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))) if inside not in WRITERS else ():
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith(NAMES):
                found.append(f"{inside}:{node.lineno} {node.value}")
    assert found == []
