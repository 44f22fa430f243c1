"""Files that somebody planted: pickles in a store, a study of another user, results of another study cut short."""

import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from toy import tasks
from typer.testing import CliRunner

from transferscope import registry, trust
from transferscope.cli import app
from transferscope.engine import integrity
from transferscope.engine.artifact import SAID, own_digest
from transferscope.engine.estimate import Past
from transferscope.engine.integrity import Damaged
from transferscope.engine.task_context import Work
from transferscope.engine.worker import execute
from transferscope.errors import UserError


class Code:
    """What it does when unpickled: leave a folder behind."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


@pytest.mark.parametrize("vouched", [False, True], ids=["as it is", "with its digests forged"])
@pytest.mark.parametrize("name", ["rows.json", "weights.safetensors"])
def test_a_pickle_in_the_store_is_not_run(store, tmp_path: Path, name: str, vouched: bool) -> None:
    step = tasks.number.step(value=3)
    execute(step.job, store, Work(store.root))
    folder = store.get(step).path
    save_file({"a": np.zeros(3)}, folder / "weights.safetensors")
    (folder / name).write_bytes(pickle.dumps(Code(tmp_path / "ran")))
    if vouched:
        said = json.loads((folder / SAID).read_text())
        said = {key: value for key, value in said.items() if key != "digest"} | {"files": integrity.written(folder)}
        (folder / SAID).write_text(json.dumps({**said, "digest": own_digest(said)}))
    artifact = store.get(step)
    with pytest.raises(Exception) as caught:
        artifact.rows if name == "rows.json" else artifact.arrays("weights")
    assert not (tmp_path / "ran").exists() and not isinstance(caught.value, pickle.UnpicklingError)


def test_a_result_of_another_study_cut_short_stops_nobody(store) -> None:
    theirs, ours = tasks.number.step(value=1), tasks.number.step(value=2)
    execute(theirs.job, store, Work(store.root))
    said = store.path(theirs.task, theirs.key) / SAID
    said.write_text(said.read_text()[:40])
    (store.root / "memo").mkdir()
    (store.root / "memo" / "studies.json").write_text("{")
    assert execute(ours.job, store, Work(store.root)).status == "done"
    assert Past(store).of(ours).bytes is not None, "the forecast goes by what can be read"
    with pytest.raises(Damaged):
        store.artifact(theirs.task, theirs.key).rows  # noqa: B018
    assert store.damaged([ours]) == []


@pytest.fixture
def beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a module that lies beside a study, and says when it is run."""
    (tmp_path / "lab_beside.py").write_text(
        f"from pathlib import Path\nPath({str(tmp_path / 'ran')!r}).mkdir(exist_ok=True)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(__import__("sys").modules, "lab_beside", raising=False)
    monkeypatch.delenv(trust.VARIABLE, raising=False)
    return "lab_beside.part"


def test_code_of_another_user_is_not_run_without_a_word(beside: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(trust, "_ours", frozenset)
    with pytest.raises(
        UserError, match=r"network: 'lab_beside.part' is code of another user .*--trust or TRANSFERSCOPE_TRUST=1"
    ):
        registry.module("transferscope.models.networks", beside, "network")
    assert not (tmp_path / "ran").exists()
    monkeypatch.setenv(trust.VARIABLE, "0")
    trust.everything()
    with pytest.raises(UserError, match="cannot import"):  # it is no package
        registry.module("transferscope.models.networks", beside, "network")
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize("verb", ["check", "plan", "run", "status", "report", "results", "verify", "store"])
def test_every_verb_that_imports_can_be_told_to_trust(
    verb: str, beside: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trust, "_ours", frozenset)
    monkeypatch.setenv(trust.VARIABLE, "0")
    study = tmp_path / "study.yaml"
    study.write_text(
        f"targets: {{a: {beside}}}\nnetwork: timm:resnet10t\narms: [random]\nimage_size: 8\nanalyses: [transfer]\n"
    )
    refused = str(CliRunner().invoke(app, [verb, str(study)]).exception)
    assert "code of another user" in refused and not (tmp_path / "ran").exists()
    assert "code of another user" not in str(CliRunner().invoke(app, [verb, str(study), "--trust"]).exception)
    assert (tmp_path / "ran").exists()


def test_ones_own_code_and_installed_packages_are_run(beside: str, monkeypatch) -> None:
    assert trust.doubt(beside) == ""
    monkeypatch.setattr(trust, "_ours", frozenset)
    assert trust.doubt("PIL.Image") == trust.doubt("wave.Wave_read") == trust.doubt("there_is_none.such") == ""
