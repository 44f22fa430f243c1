"""The training loop: what changes, what does not, and that stopping it anywhere leaves no trace."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from transferscope.engine.artifact import Artifact
from transferscope.engine.step import Outside
from transferscope.errors import UserError
from transferscope.models import weights_fingerprint
from transferscope.tasks.train import train

from .conftest import Killed, written

WEIGHTS = ("epoch-0000", "epoch-0001", "epoch-0002", "best", "final")


def test_rows_and_files(fit) -> None:
    folder, rows = fit("run")
    assert [row["epoch"] for row in rows] == [0, 1, 2, 3]
    assert rows[0]["running_loss"] is None
    assert rows[-1]["lr"] == pytest.approx(0.0, abs=1e-12)
    assert all(0 <= row[f"{s}_metric"] <= 1 for row in rows for s in ("train", "val", "test"))
    assert rows[-1]["train_loss"] < rows[0]["train_loss"]
    assert {f.stem for f in folder.glob("*.safetensors")} == {*WEIGHTS, "predictions-best", "predictions-final"}
    assert len(json.loads((folder / "timing.json").read_text())) == 4
    json.dumps(rows, allow_nan=False)


def test_predictions_are_those_of_the_rows(fit, digits) -> None:
    from transferscope.data import open_squares
    from transferscope.measures.metrics import accuracy, cross_entropy

    folder, rows = fit("run")
    table = open_squares(digits.path)
    for name, row in (("final", rows[-1]), ("best", max(rows[1:], key=lambda r: r["val_metric"]))):
        logits = load_file(folder / f"predictions-{name}.safetensors")["test"].numpy()
        labels = table.labels[table.rows["test"]]
        assert accuracy(logits, labels) == row["test_metric"]
        assert cross_entropy(logits, labels) == row["test_loss"]


def test_the_same_parameters_give_the_same_bytes(fit) -> None:
    (a, rows_a), (b, rows_b) = fit("a"), fit("b")
    assert rows_a == rows_b
    assert written(a) == written(b)


@pytest.mark.parametrize("seed_of", ["seed", "head_seed"])
def test_every_seed_matters(fit, seed_of) -> None:
    assert fit("a", epochs=1)[1] != fit("b", epochs=1, **{seed_of: 1})[1]


def test_global_randomness_is_neither_read_nor_changed(fit) -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    _, rows_a = fit("a", epochs=1)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert fit("b", epochs=1)[1] == rows_a


@pytest.mark.parametrize("every", [1, 4, 7])
def test_stopped_and_resumed_ends_in_the_same_bytes(unhurried, every) -> None:
    unhurried(every, epochs=2)


@pytest.mark.parametrize("method", ["evaluate", "save_weights", "_save_best", "_conclude"])
@pytest.mark.parametrize("evaluate", ["all", 40])
def test_a_kill_between_saves_ends_in_the_same_bytes(unbroken, method, evaluate) -> None:
    unbroken(method, 2, epochs=3, evaluate=evaluate)


def test_a_run_killed_before_its_first_save_starts_again(fit, monkeypatch) -> None:
    from transferscope.tasks import loop

    straight, _ = fit("straight", epochs=2)
    monkeypatch.setattr(loop._Run, "finish", lambda self: (_ for _ in ()).throw(Killed))
    with pytest.raises(Killed):
        fit("killed", epochs=2)
    assert not list((straight.parent / "killed").glob("resume*")), "a short run writes nothing to go on from"
    monkeypatch.undo()
    assert written(fit("killed", epochs=2)[0]) == written(straight)


def test_a_torn_save_is_not_believed(fit) -> None:
    straight, _ = fit("straight", epochs=1)
    (straight.parent / "torn").mkdir()
    (straight.parent / "torn" / "resume.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{torn")
    folder, _ = fit("torn", epochs=1)
    assert written(folder) == written(straight)


def test_evaluating_never_changes_training(fit, monkeypatch) -> None:
    from transferscope.tasks import loop

    folder, _ = fit("often", epochs=2)
    original, calls = loop._Run.evaluate, []

    def twice(self) -> None:
        for split in ("test", "train", "val"):
            self.predict(self.rows[split])
        calls.append(1)
        original(self)

    monkeypatch.setattr(loop._Run, "evaluate", twice)
    again, _ = fit("more", epochs=2)
    assert calls
    assert written(again) == written(folder)


def test_an_epoch_sees_every_training_image_once(fit, digits, monkeypatch) -> None:
    from transferscope.data import open_squares
    from transferscope.data.batches import Batches

    seen: list[np.ndarray] = []
    original = Batches.__iter__

    def spy(self):
        for x, y, rows in original(self):
            seen.append(rows)
            yield x, y, rows

    monkeypatch.setattr(Batches, "__iter__", spy)
    fit("run", epochs=1)
    assert sorted(np.concatenate(seen)) == sorted(open_squares(digits.path).rows["train"])


def test_a_loss_that_is_not_finite_fails_and_says_where(fit) -> None:
    with pytest.raises(UserError, match=r"epoch 1, batch 3 of \d+ \(arm random, lr 0\.\d+\): lower recipe\.lr"):
        fit("run", network="toy.nets:poisoned")


def test_how_often_the_losses_are_read_changes_nothing(fit, monkeypatch) -> None:
    from transferscope.tasks import loop

    often, rows = fit("often", epochs=2)
    original = loop._Run.__init__

    def patient(self, *arguments) -> None:
        original(self, *arguments)
        self.patience = 5

    monkeypatch.setattr(loop._Run, "__init__", patient)
    seldom, again = fit("seldom", epochs=2)
    assert again == rows
    assert written(seldom) == written(often)
    with pytest.raises(UserError, match=r"epoch 1, batch 3 of"):
        fit("poisoned", network="toy.nets:poisoned")


def test_only_the_head_or_the_top_blocks_train(fit) -> None:
    def changed(folder: Path) -> set[str]:
        a, b = load_file(folder / "epoch-0000.safetensors"), load_file(folder / "final.safetensors")
        return {name for name in a if not torch.equal(a[name], b[name])}

    assert changed(fit("head", epochs=1, trainable="head")[0]) == {"9.weight", "9.bias"}
    top = changed(fit("top", epochs=1, trainable="top:2")[0])
    assert {"3.weight", "4.weight", "4.running_mean", "9.weight"} <= top
    assert not {"0.weight", "1.weight", "1.running_mean", "1.num_batches_tracked"} & top
    everything = changed(fit("all", epochs=1)[0])
    assert everything == set(load_file(fit("all", epochs=1)[0] / "final.safetensors"))


def test_more_top_blocks_than_there_are_is_one_sentence(fit) -> None:
    with pytest.raises(UserError, match=r"top:K with K from 1 to 3"):
        fit("run", trainable="top:9")


def test_a_run_can_begin_from_another(fit) -> None:
    from transferscope.engine.artifact import Artifact

    probe, _ = fit("probe", epochs=1, trainable="head")
    full, _ = fit("full", epochs=1, begin=Artifact(probe))
    first = load_file(full / "epoch-0000.safetensors")
    assert all(torch.equal(t, first[n]) for n, t in load_file(probe / "final.safetensors").items())


def test_fractions_are_nested_and_stratified(digits) -> None:
    from transferscope.data import open_squares
    from transferscope.data.split import nested_fraction

    table = open_squares(digits.path)
    train_rows = table.rows["train"]
    half = nested_fraction(table.labels, train_rows, 0.5, seed=3)
    tenth = nested_fraction(table.labels, train_rows, 0.1, seed=3)
    assert set(tenth) < set(half) < set(train_rows)
    assert set(table.labels[tenth]) == set(range(10))
    assert np.abs(np.bincount(table.labels[half]) - np.bincount(table.labels[train_rows]) / 2).max() <= 1
    assert np.array_equal(nested_fraction(table.labels, train_rows, 1.0, seed=3), train_rows)


def test_a_shuffled_run_trains_and_tests_on_shuffled_images(fit) -> None:
    _, plain = fit("plain", augment=None, epochs=1)
    _, moved = fit("moved", augment=None, epochs=1, shuffle={"block": 3})
    _, same = fit("same", augment=None, epochs=1, shuffle={"block": 12})
    assert moved != plain
    assert same == plain
    assert fit("own", augment=None, epochs=1, shuffle={"block": 3, "per_image": True})[1] != moved


def outside(ref: str) -> Outside:
    """Weights as a study plans them, for the network of `fit`."""
    return Outside(ref, weights_fingerprint(ref, "toy.nets:tiny"))


def test_weights_that_changed_since_the_plan_are_not_trained_on(fit, tmp_path) -> None:
    first, other = (fit(name, epochs=1, seed=seed)[0] / "final.safetensors" for name, seed in (("a", 1), ("b", 2)))
    weights = tmp_path / "weights.safetensors"
    shutil.copy(first, weights)
    planned = outside(f"file:{weights}")
    shutil.copy(other, weights)
    how = {"epochs": 1, "arm": "pretrained", "min_share": 0.9, "seed": 5}
    with pytest.raises(UserError, match=r"weights.safetensors' has changed since the study was planned: run again"):
        fit("changed", **how, weights=planned)
    assert fit("again", **how, weights=outside(f"file:{weights}"))[1]


def test_pretrained_weights_are_loaded_and_counted(fit, tmp_path) -> None:
    source, _ = fit("source", epochs=1)
    ref = f"file:{source / 'final.safetensors'}"
    folder, _ = fit("target", epochs=1, arm="pretrained", weights=outside(ref), min_share=0.9, seed=5)
    start, given = load_file(folder / "epoch-0000.safetensors"), load_file(source / "final.safetensors")
    assert torch.equal(start["0.weight"], given["0.weight"])
    assert not torch.equal(start["9.weight"], given["9.weight"])  # the head is new
    assert json.loads((folder / "run.json").read_text())["loaded"]["share"] == 1.0


def test_what_the_weights_need_not_fill_is_allowed_by_name_and_written_down(fit, tmp_path) -> None:
    source, _ = fit("source", epochs=1)
    given = load_file(source / "final.safetensors")
    del given["0.weight"]
    save_file(given, tmp_path / "stemless.safetensors")
    how = {
        "epochs": 1,
        "arm": "pretrained",
        "weights": outside(f"file:{tmp_path}/stemless.safetensors"),
        "seed": 5,
    }
    with pytest.raises(UserError, match=r"the first layer would start as in a random network: '0\.weight'"):
        fit("refused", **how)
    folder, _ = fit("allowed", **how, allow=["0.*"])
    loaded = json.loads((folder / "run.json").read_text())["loaded"]
    assert loaded["missing"] == ["0.weight"] and loaded["mismatched"] == []


def test_a_sample_is_evaluated_in_between_and_everything_at_the_end(fit, digits) -> None:
    from transferscope.data import open_squares
    from transferscope.data.split import sample
    from transferscope.measures.metrics import accuracy

    how = {"epochs": 3, "lr": 0.3}
    (whole, every), (folder, rows) = fit("all", **how), fit("some", evaluate=60, **how)
    for name in ("epoch-0000", "epoch-0002", "final"):
        assert (folder / f"{name}.safetensors").read_bytes() == (whole / f"{name}.safetensors").read_bytes()
    best = json.loads((folder / "run.json").read_text())["best_epoch"]
    assert best == max(rows[1:], key=lambda row: row["val_metric"])["epoch"]
    for row, all_of in zip(rows, every, strict=True):
        assert row["running_loss"] == all_of["running_loss"]
        assert row["train_loss"] != all_of["train_loss"] and row["test_loss"] != all_of["test_loss"]
        whole = [row[f"whole_{split}_{what}"] for split in ("val", "test") for what in ("loss", "metric")]
        everything = [all_of[f"{split}_{what}"] for split in ("val", "test") for what in ("loss", "metric")]
        assert whole == (everything if row["epoch"] in (best, 3) else [None] * 4)
        assert not any(name.startswith("whole") for name in all_of)
    table = open_squares(digits.path)
    watched = np.isin(table.rows["val"], sample(table.labels, table.rows["val"], 60, seed=0))
    logits = load_file(folder / "predictions-final.safetensors")["val"].numpy()
    assert len(logits) == len(table.rows["val"]) > watched.sum() == 60
    assert rows[-1]["val_metric"] == accuracy(logits[watched], table.labels[table.rows["val"]][watched])


def test_more_than_there_are_is_all(fit) -> None:
    (_, every), (_, rows) = fit("all", epochs=1), fit("some", epochs=1, evaluate=10_000)
    assert [{name: row[name] for name in every[0]} for row in rows] == every
    assert rows[-1]["whole_test_loss"] == rows[-1]["test_loss"]


def test_what_a_save_refers_to_is_never_overwritten(fit, monkeypatch) -> None:
    """Killed at its end, then resumed where numbers round differently: the best epoch's weights stay its own."""
    from transferscope.tasks import loop

    scores = {1: 0.5, 2: 0.6, 3: 0.9, 4: 0.1}  # what val says, by epoch
    score, conclude = loop._Run._score, loop._Run._conclude

    def scored(self, split, rows, out, number):
        loss, metric = score(self, split, rows, out, number)
        return loss, scores.get(number, 0.0) if split == "val" else metric

    def saved(self) -> None:
        if (self.now.epoch, self.now.batch) == (2, 0):
            self.save()

    def dies(self, *arguments) -> None:
        raise Killed

    monkeypatch.setattr(loop._Run, "_score", scored)
    monkeypatch.setattr(loop._Run, "_save_now_and_then", saved)
    monkeypatch.setattr(loop._Run, "_conclude", dies)
    with pytest.raises(Killed):
        fit("run", epochs=4)
    monkeypatch.setattr(loop._Run, "_conclude", conclude)
    scores[3] = 0.2  # the second time, epoch 3 is not the best
    folder, _ = fit("run", epochs=4)
    assert json.loads((folder / "run.json").read_text())["best_epoch"] == 2
    assert (folder / "best.safetensors").read_bytes() == (folder / "epoch-0002.safetensors").read_bytes()
    assert not list(folder.glob("best-*"))


def test_the_best_epoch_is_chosen_on_val(fit) -> None:
    folder, rows = fit("run", epochs=4)
    best = json.loads((folder / "run.json").read_text())["best_epoch"]
    assert best == max(rows[1:], key=lambda row: row["val_metric"])["epoch"]


def test_later_parameters_are_neutral() -> None:
    """At these values the parameters stay out of the key; changing one makes every stored run unfindable."""
    assert dict(train.neutral) == {
        "shuffle": None,
        "fraction": 1.0,
        "trainable": "all",
        "drop_in": "nothing",
        "begin": None,
        "begin_at": "final",
        "first_epoch": 0,
        "weights_at": None,
        "labels": "true",
        "keep": "log",
        "evaluate": "all",
        "allow": None,
        "optimizer": "sgd",
        "betas": None,
        "eps": None,
        "decay_norms": True,
        "layer_decay": 1.0,
        "lr_scale": None,
        "prepare": None,
        "best_on": "val",
        "accumulate": 1,
        "mean_over": "batches",
        "views": None,
        "clip_grad": None,
        "ema": None,
        "save_every": None,
        "drop_path": 0.0,
        "dropout": 0.0,
        "class_weights": None,
        "sampler": "shuffled",
        "early_stopping": None,
        "input": None,
        "step_size": 10,
        "patience": 5,
    }


def test_a_fork_goes_on_from_a_saved_epoch_in_another_order(fit) -> None:
    parent, rows = fit("parent", epochs=4)
    folder, forked = fit("child", epochs=4, seed=1, begin=Artifact(parent), begin_at="epoch-0002", first_epoch=2)
    start, saved = load_file(folder / "epoch-0000.safetensors"), load_file(parent / "epoch-0002.safetensors")
    assert all(torch.equal(start[name], saved[name]) for name in saved)
    assert [row["epoch"] for row in forked] == [2, 3, 4]
    assert forked[0]["test_loss"] == rows[2]["test_loss"] and forked[0]["running_loss"] is None
    assert [row["lr"] for row in forked] == [row["lr"] for row in rows[2:]]
    assert forked[-1]["test_loss"] != rows[-1]["test_loss"]
    assert json.loads((folder / "run.json").read_text())["best_epoch"] in (3, 4)


def test_random_labels_keep_the_images_and_the_class_counts(fit) -> None:
    _, true = fit("true", epochs=3, mixup=0.0)
    _, random = fit("random", epochs=3, mixup=0.0, labels="random")
    assert random[-1]["test_metric"] < 0.3 < true[-1]["test_metric"], "nothing general is to be learnt from them"
    assert random == fit("again", epochs=3, mixup=0.0, labels="random")[1]


def test_a_run_starts_from_what_another_saved(fit) -> None:
    source, _ = fit("source", epochs=2)
    folder, _ = fit("target", epochs=1, arm="pretrained", weights=Artifact(source), weights_at="epoch-0001", seed=5)
    start, given = load_file(folder / "epoch-0000.safetensors"), load_file(source / "epoch-0001.safetensors")
    assert torch.equal(start["0.weight"], given["0.weight"])
    assert not torch.equal(start["9.weight"], given["9.weight"])


def test_both_sides_of_every_drop_are_kept(fit) -> None:
    how = {"schedule": "multistep", "milestones": [0.5], "epochs": 10}
    saved = {path.stem for path in fit("drops", **how, keep="drops")[0].glob("epoch-*.safetensors")}
    assert saved == {f"epoch-{epoch:04d}" for epoch in (0, 1, 2, 4, 5, 6, 8)}
    saved = {path.stem for path in fit("plain", **how)[0].glob("epoch-*.safetensors")}
    assert saved == {f"epoch-{epoch:04d}" for epoch in (0, 1, 2, 4, 8)}


def test_one_in_so_many_epochs_is_kept_besides_and_nothing_else_changes(fit) -> None:
    plain, rows = fit("plain", epochs=7)
    more, same = fit("more", epochs=7, save_every=3)
    assert {path.stem for path in more.glob("epoch-*.safetensors")} == {f"epoch-{e:04d}" for e in (0, 1, 2, 3, 4, 6)}
    assert {path.stem for path in plain.glob("epoch-*.safetensors")} == {f"epoch-{e:04d}" for e in (0, 1, 2, 4)}
    assert rows == same and (plain / "final.safetensors").read_bytes() == (more / "final.safetensors").read_bytes()


def test_a_last_batch_of_one_image_does_not_stop_batch_norm(fit, digits, monkeypatch) -> None:
    from transferscope.data import open_squares
    from transferscope.tasks import run_setup

    count = len(open_squares(digits.path).rows["train"])
    _, rows = fit("run", network="toy.nets:narrow", epochs=1, batch_size=count - 1, augment=None)
    assert len(rows) == 2
    monkeypatch.setattr(run_setup, "chosen_rows", lambda table, *_: {**table.rows, "train": table.rows["train"][:1]})
    with pytest.raises(UserError, match="cannot train on a single image"):
        fit("single", network="toy.nets:narrow", epochs=1, augment=None)
