"""Batches of texts: of like length and cut to the longest in training; padding and order change no answer of a run."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

reading = pytest.importorskip("reading")

from transferscope.data.listing import Listing  # noqa: E402
from transferscope.data.texts import TextCells  # noqa: E402
from transferscope.data.tokens import Tokens, build, open_tokens  # noqa: E402
from transferscope.engine.artifact import Artifact  # noqa: E402
from transferscope.errors import UserError  # noqa: E402
from transferscope.models.build import build_network  # noqa: E402
from transferscope.tasks.inputs import Fed, text  # noqa: E402


@pytest.fixture
def table(tmp_path: Path) -> Tokens:
    texts = tuple(" ".join(["red"] * (1 + number % 9)) for number in range(40))
    listing = Listing(
        names=tuple(f"{number:02d}" for number in range(40)),
        classes=("a", "b"),
        labels=np.arange(40) // 20,
        load=TextCells(texts),
        ref="text:x",
        holds="texts",
    )
    where = tmp_path / "base" / "store" / "text"
    where.mkdir(parents=True)
    file = reading.tokenizer(tmp_path / "tokenizer.json")
    build(listing, where, tokenizer=file, max_length=20, split=(0.2, 0.2, 0), tell=lambda **_: None)
    return open_tokens(where)


def run(**changes: object) -> SimpleNamespace:
    usual = {
        "mean": (0.0,),
        "std": (1.0,),
        "shuffle": None,
        "seed": 0,
        "batch_size": 4,
        "mixup": 0.0,
        "trainable": "all",
    }
    return SimpleNamespace(**{**usual, **changes})


def test_training_batches_are_cut_to_their_longest_text(table: Tokens) -> None:
    rows = np.arange(40)
    how = {"epoch": 1, "start": 0, "device": "cpu"}
    cut = list(text.training(table, rows, table.labels, run(), **how))
    whole = list(text.training(table, rows, table.labels, run(trainable="head"), **how))
    assert any(x.shape[1] < 11 for x, _, _ in cut) and {x.shape[1] for x, _, _ in whole} == {11}
    inside = 1 - sum(int((x >= 0).sum()) for x, _, _ in cut) / sum(x.numel() for x, _, _ in cut)
    outside = 1 - sum(int((x >= 0).sum()) for x, _, _ in whole) / sum(x.numel() for x, _, _ in whole)
    assert inside < 0.6 * outside, "texts of like length share a batch"
    for (x, _, at), (y, _, also) in zip(cut, whole, strict=True):
        assert np.array_equal(at, also) and torch.equal(x, y[:, : x.shape[1]]) and (y[:, x.shape[1] :] == -1).all()
        assert (x[:, -1] >= 0).any()
    (seen,) = text.evaluation(table, rows, table.labels, Fed((0.0,), (1.0,)), batch_size=40, device="cpu")
    assert seen[0].shape == (40, 11) and seen[0].dtype == torch.int64


def test_tokens_are_not_blended(table: Tokens) -> None:
    with pytest.raises(UserError, match=r"recipe\.mixup: .* tokens cannot be blended"):
        text.training(table, np.arange(4), table.labels, run(mixup=0.2), epoch=1, start=0, device="cpu")


@pytest.fixture
def asked(table: Tokens, tmp_path: Path) -> dict[str, object]:
    """What a run of these texts is told."""
    from transferscope import models

    pytest.importorskip("transformers")
    reading.network(tmp_path / "net")
    network = models.settled("transformers:net", tmp_path)
    own = {"data": Artifact(table.folder), "network": network, "mean": [0.0], "std": [1.0], "mixup": 0.0}
    return {**own, "augment": None, "epochs": 2, "batch_size": 4, "optimizer": "adamw", "lr": 0.02}


@pytest.mark.parametrize("trainable", ["all", "head"])
def test_answers_come_in_the_order_of_the_table(table: Tokens, asked: dict[str, object], fit, trainable: str) -> None:
    """Whatever the order and the length of the passes: each is that of the text alone, without padding."""
    folder, _ = fit("run", **asked, trainable=trainable)
    net = build_network(str(asked["network"]), 2, seed=0)
    net.load_state_dict(load_file(folder / "final.safetensors"))
    saved = load_file(folder / "predictions-final.safetensors")
    for split in ("val", "test"):
        rows = table.rows[split]
        assert len(set(table.lengths[rows])) > 2
        alone = [torch.from_numpy(table.tokens[row, : table.lengths[row]].astype(np.int64))[None] for row in rows]
        with torch.no_grad():
            wanted = torch.cat([net.eval()(x) for x in alone])
        torch.testing.assert_close(saved[split], wanted, rtol=1e-4, atol=1e-5)  # float32: sums in another order
        assert len({tuple(row) for row in wanted.double().round(decimals=4).tolist()}) > 2, "and they differ"


def test_a_run_that_is_stopped_goes_on_in_the_same_batches(asked: dict[str, object], unhurried) -> None:
    unhurried(3, **asked)
