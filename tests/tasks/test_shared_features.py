"""Features that runs of a store share: who computes them, what they come to, and when they are not believed."""

import os
import shutil

import numpy as np
import pytest
import torch
from filelock import FileLock
from safetensors.torch import load_file, save_file

from transferscope.atomic_files import write_json
from transferscope.engine.artifact import Artifact, own_digest
from transferscope.engine.task_context import Interrupted, Work
from transferscope.models.build import build_network
from transferscope.tasks import inputs, shared_features

PROBE = {"network": "toy.nets:lite", "trainable": "head", "epochs": 2, "augment": None, "mixup": 0.0, "evaluate": 40}


@pytest.fixture
def table(digits, tmp_path) -> Artifact:
    """The digits as a result that a store vouches for."""
    folder = tmp_path / "ingest" / "key"
    shutil.copytree(digits.path, folder)
    said = {"params": {}, "files": {}}
    write_json(folder / "step.json", {**said, "digest": own_digest(said)})
    return Artifact(folder)


@pytest.fixture
def weights(tmp_path) -> str:
    file = tmp_path / "weights.safetensors"
    save_file(build_network("toy.nets:lite", 10, seed=5).state_dict(), file)
    return f"file:{file}"


@pytest.fixture
def probe(fit, table, weights, tmp_path, monkeypatch):
    """``probe("name", seed=1)``: (folder, how many images went through the body) of a probe of the same weights."""
    from transferscope.engine.step import Outside
    from transferscope.models import weights_fingerprint

    ran: list[int] = []
    original = torch.nn.Conv2d._conv_forward

    def counting(self, x, weight, bias):
        if weight.shape[1] == 3:  # the stem
            ran.append(len(x))
        return original(self, x, weight, bias)

    monkeypatch.setattr(torch.nn.Conv2d, "_conv_forward", counting)
    given = Outside(weights, weights_fingerprint(weights, "toy.nets:lite", None))

    def run(name: str, memo: str | None = "memo", **changes):
        ran.clear()
        work = {"memo": tmp_path / memo if memo else None}
        how = {"data": table, "arm": "pretrained", "weights": given, "min_share": 0.5, **PROBE}
        folder, _ = fit(name, work=work, **how | changes)
        return folder, sum(count for count in ran if count > 2)

    return run


def outputs(folder):
    return load_file(folder / "predictions-final.safetensors")["test"]


def test_another_seed_and_another_rate_read_what_the_first_computed(probe, table) -> None:
    rows = inputs.open_table(table.path).rows
    _, first = probe("first", seed=0)
    assert first == sum(map(len, rows.values()))
    for name, changes in {"seed": {"seed": 1}, "rate": {"lr": 0.01}, "less": {"batch_size": 16}}.items():
        shared, ran = probe(name, **changes)
        alone, every = probe(f"{name} alone", memo=None, **changes)
        assert ran == 0 and every == first
        for file in ("final.safetensors", "predictions-final.safetensors", "predictions-best.safetensors"):
            assert (shared / file).read_bytes() == (alone / file).read_bytes()


@pytest.mark.parametrize(
    "changes", [{"mean": [0.4] * 3}, {"shuffle": {"block": 4}}, {"precision": "bfloat16"}, {"arm": "random"}]
)
def test_what_changes_the_features_is_computed_for_itself(probe, changes) -> None:
    _, first = probe("first")
    if "arm" in changes:
        changes = {**changes, "weights": None, "min_share": None}
    _, ran = probe("other", **changes)
    assert ran == first


def test_of_fewer_training_images_only_those_that_are_tested_on_are_shared(probe, table) -> None:
    rows = inputs.open_table(table.path).rows
    probe("first")
    _, ran = probe("few", fraction=0.2)
    assert 0 < ran <= 0.25 * len(rows["train"])


def flipped(path) -> None:
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)


def of_another_network(path) -> None:
    """Whole, but not what this network gives: as after somebody changed its code."""
    features = load_file(path)["features"] + 1
    shared_features._write(path, features, 1.0)


@pytest.mark.parametrize(
    "spoil", [flipped, of_another_network, lambda path: path.write_bytes(b"{"), lambda path: path.unlink()]
)
def test_what_cannot_be_believed_is_computed_again(probe, tmp_path, spoil) -> None:
    whole, first = probe("first")
    for path in (tmp_path / "memo" / shared_features.FOLDER).glob("*.safetensors"):
        spoil(path)
    again, ran = probe("again")
    assert ran == first
    assert torch.equal(outputs(again), outputs(whole))
    assert probe("third")[1] == 0, "and is kept again"


def test_a_table_that_no_store_vouches_for_shares_nothing(probe, table) -> None:
    (table.path / "step.json").unlink()
    bare = Artifact(table.path)
    _, first = probe("first", data=bare)
    _, again = probe("again", data=bare)
    assert first == again > 0


def test_a_probe_killed_anywhere_ends_in_the_same_bytes(unbroken, table, tmp_path) -> None:
    unbroken("_batch", 5, 10, data=table, work={"memo": tmp_path / "memo"}, **PROBE)


def asked(work: Work, key: str = "a", computed=lambda: torch.ones(4, 2)):
    question = {"table": "t", "key": key, "precision": "float32"}
    return shared_features.of(work, question, computed, lambda: torch.ones(2, 2))


def test_the_seconds_are_those_of_whoever_computed_them(tmp_path) -> None:
    work = Work(tmp_path, memo=tmp_path)
    _, seconds = asked(work)
    (file,) = (tmp_path / shared_features.FOLDER).iterdir()  # and no lock is left behind
    shared_features._write(file, torch.ones(4, 2), 1000.0)
    assert asked(work)[1] == 1000.0 > seconds


def test_who_waits_for_another_can_be_stopped(tmp_path) -> None:
    asked(Work(tmp_path, memo=tmp_path))
    (file,) = (tmp_path / shared_features.FOLDER).glob("*.safetensors")
    with FileLock(f"{file}.lock"), pytest.raises(Interrupted):
        asked(Work(tmp_path, memo=tmp_path, stopping=lambda: True))


def test_files_used_longest_ago_go_where_there_are_too_many(tmp_path, monkeypatch) -> None:
    work, folder = Work(tmp_path, memo=tmp_path), tmp_path / shared_features.FOLDER
    names = {}
    for age, key in enumerate("abc"):
        before = {*folder.glob("*.safetensors")}
        asked(work, key)
        (names[key],) = {*folder.glob("*.safetensors")} - before
        os.utime(names[key], (1000 + age, 1000 + age))
    asked(work, "a")  # used again
    size = names["a"].stat().st_size
    monkeypatch.setattr(shared_features, "ROOM", 3 * size)
    asked(work, "d")
    assert not names["b"].exists() and names["a"].exists() and names["c"].exists()


def test_a_folder_that_cannot_be_written_only_shares_nothing(tmp_path) -> None:
    (tmp_path / shared_features.FOLDER).write_bytes(b"a file where the folder would be")
    found, _ = asked(Work(tmp_path, memo=tmp_path))
    assert torch.equal(found, torch.ones(4, 2))


def test_digests_tell_rows_apart() -> None:
    one, other = np.arange(4), np.array([0, 1, 3, 2])
    assert shared_features.digest(one) == shared_features.digest(np.arange(8)[:4]) != shared_features.digest(other)
