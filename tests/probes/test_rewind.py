"""Rewinding against plain passes of copied networks, block by block, and what it promises of networks and errors."""

import copy
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
import torch
from probing.blockwise import labelled, plain, residual, swapped
from probing.crossed import plain as plain_net
from probing.nets import images, made
from torch import nn

import transferscope as ts
from transferscope.errors import UserError
from transferscope.models.blocks import blocks, parameters_of
from transferscope.models.norm import has_batch_norm, refresh_batch_norm
from transferscope.probes.blocks import rewind as probe
from transferscope.probes.blocks.changed_networks import Trials
from transferscope.probes.blocks.rewind import rewind


@pytest.mark.parametrize("batch_norm", ["refresh", "as found"])
@pytest.mark.parametrize("make", [residual, lambda seed: made(seed=seed)])
def test_every_block_checkpoint_and_direction_is_the_plain_pass_of_a_changed_copy(make, batch_norm):
    net, start, middle = make(1), make(2), make(3)
    sets = {"train": labelled(seed=1), "test": labelled(30, seed=2)}
    statistics = torch.cat([x for x, _ in labelled(40, seed=7)])
    anew = batch_norm == "refresh" and has_batch_norm(net)
    found = rewind(
        net,
        start,
        sets,
        checkpoints={"epoch 1": middle.state_dict()},
        redraw=make(4),
        cumulative="both",
        batch_norm=batch_norm,
        statistics=statistics.split(8),
    )
    table = found.table()

    def slow(state, names):
        other = swapped(net, state, names)
        if anew:
            refresh_batch_norm(other, [statistics.double()])
        return other

    cut = blocks(net, images(2))
    states = {"start": start, "epoch 1": middle, "redraw": make(4)}
    assert found.metric == "accuracy" and found.images == (("train", 24), ("test", 30))
    assert table.height == 2 * (1 + anew + len(cut) * 5)
    for row in table.iter_rows(named=True):
        place = next((i for i, b in enumerate(cut) if b.name == row["block"]), None)
        of = {"none": [], "own": [], "bottom": cut[: (place or 0) + 1], "top": cut[place:]}.get(
            row["how"], [cut[place or 0]]
        )
        state = states[row["checkpoint"] or "start"].state_dict()
        names = [name for block in of for name in parameters_of(block, state)]
        other = swapped(net, state, names) if row["how"] == "own" else slow(state, names)
        score, loss = plain(other, sets[row["data"]])
        assert row["loss"] == pytest.approx(loss, abs=1e-5), row
        assert row["score"] == pytest.approx(score), row
        base = plain(slow(net.state_dict(), []), sets[row["data"]])
        assert row["drop"] == pytest.approx(base[0] - score) and row["loss_rise"] == pytest.approx(
            loss - base[1], abs=1e-5
        )
        assert row["drop_low"] < row["drop"] < row["drop_high"]
        moved = [n for n, _ in net.named_parameters() if n in names]
        far = sum(float(((net.state_dict()[n] - state[n]).double() ** 2).sum()) for n in moved) ** 0.5
        assert row["distance"] == pytest.approx(far, rel=1e-6)
        assert row["size"] == sum(state[n].numel() for n in moved)
        assert row["distance_scaled"] == pytest.approx(far / max(row["size"], 1) ** 0.5, rel=1e-6)
    assert found.heat().to_dict() and found.chart("train").to_dict()


def test_the_basis_is_said_and_own_scores_stand_beside_where_they_differ():
    net, start, data = residual(1), residual(2), labelled()
    found = rewind(net, start, data, statistics=[x for x, _ in labelled(40, seed=7)])
    assert found.batch_norm == "re-estimated everywhere, on 40 images given as statistics"
    rows = {row["how"]: row for row in found.table().iter_rows(named=True)}
    assert rows["own"]["loss"] == pytest.approx(plain(copy.deepcopy(net).double().eval(), data)[1], abs=1e-5)
    with torch.no_grad():
        data = [(x, net.eval()(x).argmax(1)) for x, _ in data]
    stale = residual(1)
    stale[1].running_mean += torch.linspace(-9, 9, 6)
    told = rewind(stale, start, data)
    assert told.batch_norm == "re-estimated everywhere, on 24 of the images of 'data' that are scored"
    ((name, score, own),) = told.own
    assert name == "data" and score == told.score[0] and own == told.score[1] != score
    as_found = rewind(net, start, data, batch_norm="as found")
    assert as_found.batch_norm == "as found" and as_found.own == () and "own" not in as_found.how
    bare = rewind(made(plain_net), made(plain_net, seed=1), data)
    assert bare.batch_norm == "none in the network" and "own" not in bare.how


def test_a_rewound_block_that_only_needs_other_statistics_costs_nothing():
    """The scale of one block's outputs: with the statistics of the final network it looks critical."""
    net, data = residual(1), labelled(60)
    start = copy.deepcopy(net)
    with torch.no_grad():
        start[0].weight.mul_(5)
        start[0].bias.mul_(5)
        start[1].running_mean.zero_()
        start[1].running_var.fill_(1)
        data = [(x, net.eval()(x).argmax(1)) for x, _ in data]
    block = blocks(net)[0].name
    anew, stale = (
        rewind(net, start, data, blocks=[block], batch_norm=how).table().filter(how="rewind")
        for how in ("refresh", "as found")
    )
    assert anew["drop"][0] == 0 and abs(anew["loss_rise"][0]) < 1e-3 and stale["drop"][0] > 0.1


class Tied(nn.Module):
    """The last block's weight is the first one's."""

    def __init__(self):
        super().__init__()
        self.first, self.middle, self.last = nn.Linear(12, 12, bias=False), nn.Linear(12, 12), nn.Linear(12, 12)
        self.last.weight = self.first.weight

    def forward(self, x):
        return self.last(torch.relu(self.middle(torch.relu(self.first(x.flatten(1)))))[:, :12])


@pytest.mark.parametrize("reuse", [True, False])
def test_tied_tensors_count_once_and_move_together(reuse, monkeypatch):
    monkeypatch.setattr(probe, "Trials", lambda *a, **k: Trials(*a, **k, reuse=reuse))
    net, start = made(Tied, seed=1), made(Tied, seed=2)
    x = torch.randn(20, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    data = [(x, torch.arange(20) % 12)]
    table = rewind(net, start, data, cumulative="both").table()
    size = {(row["how"], row["block"]): row["size"] for row in table.iter_rows(named=True)}
    assert size["rewind", "first"] == 144 and size["rewind", "last"] == 12, "its bias alone"
    assert size["bottom", "last"] == size["top", "first"] == 144 + 156 + 12
    for how, block, names in (
        ("rewind", "first", ["first.weight", "last.weight"]),
        ("rewind", "last", ["last.bias"]),
        ("bottom", "first", ["first.weight", "last.weight"]),
    ):
        row = table.filter(how=how, block=block).row(0, named=True)
        assert row["loss"] == pytest.approx(plain(swapped(net, start.state_dict(), names), data)[1], abs=1e-5)
        far = sum(float((net.state_dict()[n] - start.state_dict()[n]).double().square().sum()) for n in names[-1:])
        assert row["distance"] == pytest.approx(far**0.5, rel=1e-6)


def test_nothing_changes_where_nothing_moved_and_the_network_is_left_as_found():
    net, data = residual(1).train(), labelled()
    before, chance = copy.deepcopy(net.state_dict()), torch.get_rng_state()
    found = rewind(net, net, data, cumulative="both", redraw=True).table()
    assert (found.filter(pl.col("how") != "redraw")["drop"] == 0).all()
    assert (found.filter(pl.col("how") != "redraw")["distance"] == 0).all()
    assert (found.filter(pl.col("how") == "redraw")["distance"] > 0).all()
    with pytest.raises(UserError):
        rewind(net, residual(1, width=5), data)
    assert net.training and all(torch.equal(before[n], t) for n, t in net.state_dict().items())
    assert torch.equal(chance, torch.get_rng_state())


def test_redraw_follows_the_seed_and_takes_a_factory():
    net, data = residual(1), labelled()

    def losses(**options):
        return rewind(net, net, data, **options).table().filter(pl.col("how") == "redraw")["loss"].to_list()

    assert losses(redraw=True, seed=1) == losses(redraw=True, seed=1) != losses(redraw=True, seed=2)
    fresh = losses(redraw=residual_fresh, seed=1)
    assert fresh == losses(redraw=residual_fresh, seed=1) and len(fresh) == len(blocks(net))

    class Owner(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc, self.scale = nn.Linear(3, 4), nn.Parameter(torch.ones(4))

        def forward(self, x):
            return self.fc(x.mean((2, 3))) * self.scale

    with pytest.raises(UserError, match=r"redraw: 'scale' belongs to a Owner"):
        rewind(Owner(), Owner(), data, redraw=True)


def residual_fresh():
    net = residual()
    for module in net.modules():
        if hasattr(module, "reset_parameters"):
            module.reset_parameters()
    return net


def test_a_start_with_another_head_leaves_the_head_alone():
    found = rewind(residual(1), residual(2, classes=9), labelled())
    assert found.skipped == (blocks(residual(1))[-1].name,) and found.skipped[0] not in found.block


def test_multilabel_binary_and_single_output():
    x = images(20)
    y = (torch.rand(20, 4, generator=torch.Generator().manual_seed(0)) > 0.5).long()
    many = rewind(residual(1), residual(2), [(x, y)])
    assert many.metric == "auc" and many.table()["score"].null_count() == 0
    two = rewind(residual(1, classes=2), residual(2, classes=2), [(x, y[:, 0])])
    one = rewind(residual(1, classes=1), residual(2, classes=1), [(x, y[:, 0])])
    assert two.metric == one.metric == "auc"
    alone = rewind(residual(1, classes=2), residual(2, classes=2), [(x, torch.zeros(20, dtype=torch.long))])
    assert alone.table()["score"].null_count() == alone.table().height and alone.table()["loss"].null_count() == 0


def test_outputs_that_overflow_are_gaps():
    net, huge = residual(1), residual(2)
    with torch.no_grad():
        huge[3].conv2.weight.fill_(3e38)
    table = rewind(net, huge, labelled()).table()
    assert table.filter(pl.col("block") == "3")["drop"][0] is None
    assert table.filter(pl.col("block") == "4")["drop"][0] is not None


def test_intervals_over_images_hold_the_truth_as_often_as_they_say():
    draw = np.random.default_rng(0)
    lost, won = 0.06, 0.02
    held = 0
    for _ in range(1000):
        of = draw.choice(3, 120, p=[lost, won, 1 - lost - won])
        own, changed = (SimpleNamespace(wrong=(of == kind).astype(float)) for kind in (1, 0))
        low, high = probe._ends(own, changed, "accuracy")
        held += low <= lost - won <= high
    assert 0.935 < held / 1000 < 0.98
    same = SimpleNamespace(wrong=np.zeros(100))
    low, high = probe._ends(same, same, "accuracy")
    assert low == -high and 0.015 < high < 0.03, "100 images cannot show that nothing is lost"
    assert np.isnan(probe._ends(same, same, "auc")).all() and np.isnan(probe._ends(same, None, "accuracy")).all()


def test_saved_and_loaded(tmp_path):
    found = rewind(residual(1), residual(2), labelled(), cumulative="bottom")
    found.save(tmp_path / "r.safetensors")
    assert ts.load(tmp_path / "r.safetensors").table().equals(found.table())


def test_bad_input_is_one_sentence():
    net, data = residual(1), labelled()
    for match, call in {
        r"rewind: '0\.weight' is .* in net and .* in start;": lambda: rewind(net, residual(2, width=5), data),
        r"rewind: '3\.conv1\.weight' is .* in net and missing in checkpoint 'late';": lambda: rewind(
            net, net, data, checkpoints={"late": {n: t for n, t in net.state_dict().items() if n != "3.conv1.weight"}}
        ),
        r"no block '33'; did you mean '3'": lambda: rewind(net, net, data, blocks=["33"]),
        "batch_norm: 'keep'": lambda: rewind(net, net, data, batch_norm="keep"),
        "cumulative: 'up'": lambda: rewind(net, net, data, cumulative="up"),
        "no labels": lambda: rewind(net, net, [x for x, _ in data]),
    }.items():
        with pytest.raises(UserError, match=match) as caught:
            call()
        assert str(caught.value)[-1] in ".?" and "\n" not in str(caught.value)


@pytest.mark.parametrize("batch_norm", ["refresh", "as found"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_keeping_what_lies_before_a_block_changes_no_number(precision, batch_norm):
    net, start, sets = residual(1), residual(2).state_dict(), {"train": labelled(), "test": labelled(30, seed=2)}
    either = [
        Trials(net, sets, batch_norm=batch_norm, statistics=None, precision=precision, reuse=kept)
        for kept in (True, False)
    ]
    for trials in either:
        trials.on(net.state_dict())
    cut = either[0].cut
    for inside in [(), *((block,) for block in cut), cut[1:3]]:
        values = {name: start[name] for block in inside for name in parameters_of(block, start)}
        short, whole = (trials(inside, values, "here") for trials in either)
        for name in sets:
            close = 1e-5 if precision == "float32" else 0.05
            np.testing.assert_allclose(short[name].logits, whole[name].logits, atol=close)
