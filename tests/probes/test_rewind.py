"""Rewinding against plain passes of copied networks, block by block, and what it promises of networks and errors."""

import copy
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
import torch
from probing.blockwise import labelled, plain, residual, swapped
from probing.nets import images, made
from torch import nn

import transferscope as ts
from transferscope.errors import UserError
from transferscope.models.blocks import blocks, parameters_of
from transferscope.models.norm import refresh_batch_norm
from transferscope.probes import rewind as probe
from transferscope.probes.blockwise import Trials
from transferscope.probes.rewind import rewind, state_rewind


@pytest.mark.parametrize("make", [residual, lambda seed: made(seed=seed)])
def test_every_block_checkpoint_and_direction_is_the_plain_pass_of_a_changed_copy(make):
    net, start, middle = make(1), make(2), make(3)
    sets = {"train": labelled(seed=1), "test": labelled(30, seed=2)}
    found = rewind(net, start, sets, checkpoints={"epoch 1": middle.state_dict()}, redraw=make(4), cumulative="both")
    table = found.table()
    cut = blocks(net, images(2))
    states = {"start": start, "epoch 1": middle, "redraw": make(4)}
    assert found.metric == "accuracy" and found.images == (("train", 24), ("test", 30))
    assert table.height == 2 * (1 + len(cut) * 5)
    for row in table.iter_rows(named=True):
        place = next((i for i, b in enumerate(cut) if b.name == row["block"]), None)
        of = {"none": [], "bottom": cut[: (place or 0) + 1], "top": cut[place:]}.get(row["how"], [cut[place or 0]])
        state = states[row["checkpoint"] or "start"].state_dict()
        names = [name for block in of for name in parameters_of(block, state)]
        score, loss = plain(swapped(net, state, names), sets[row["data"]])
        assert row["loss"] == pytest.approx(loss, abs=1e-5), row
        assert row["score"] == pytest.approx(score), row
        base = plain(copy.deepcopy(net).double().eval(), sets[row["data"]])
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


def test_statistics_go_back_with_the_block_or_are_estimated_anew():
    net, start, data = residual(1), residual(2), labelled()
    first = blocks(net)[0]
    plainly = rewind(net, start, data, blocks=[first.name]).table()
    names = parameters_of(first, net.state_dict())
    assert any("running_mean" in name for name in names)
    assert plainly["loss"][1] == pytest.approx(plain(swapped(net, start.state_dict(), names), data)[1], abs=1e-5)
    statistics = [x for x, _ in labelled(40, seed=7)]
    anew = rewind(net, start, data, blocks=[first.name], batch_norm="refresh", statistics=statistics)
    other = swapped(net, start.state_dict(), names)
    refresh_batch_norm(other, [torch.cat(statistics).double()])
    assert anew.batch_norm == "refresh" and anew.table()["loss"][1] == pytest.approx(plain(other, data)[1], abs=1e-4)
    assert abs(anew.table()["loss"][1] - plainly["loss"][1]) > 1e-3


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
        r"start: '0.weight' has shape": lambda: rewind(net, residual(2, width=5), data),
        r"late: '3.conv1.weight' is missing": lambda: rewind(net, net, data, checkpoints={"late": {
            n: t for n, t in net.state_dict().items() if n != "3.conv1.weight"}}),
        r"no block '33'; did you mean '3'": lambda: rewind(net, net, data, blocks=["33"]),
        "batch_norm: 'keep'": lambda: rewind(net, net, data, batch_norm="keep"),
        "cumulative: 'up'": lambda: rewind(net, net, data, cumulative="up"),
        "no labels": lambda: rewind(net, net, [x for x, _ in data]),
        "none to go back to": lambda: state_rewind(net, net.state_dict(), {}, data),
    }.items():  # fmt: skip
        with pytest.raises(UserError, match=match) as caught:
            call()
        assert str(caught.value)[-1] in ".?" and "\n" not in str(caught.value)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_keeping_what_lies_before_a_block_changes_no_number(precision):
    net, start, sets = residual(1), residual(2).state_dict(), {"train": labelled(), "test": labelled(30, seed=2)}
    either = [Trials(net, sets, batch_norm="as found", statistics=None, precision=precision, reuse=kept)
              for kept in (True, False)]  # fmt: skip
    for trials in either:
        trials.on(net.state_dict())
    cut = either[0].cut
    for inside in [(), *((block,) for block in cut), cut[1:3]]:
        values = {name: start[name] for block in inside for name in parameters_of(block, start)}
        short, whole = (trials(inside, values, "here") for trials in either)
        for name in sets:
            close = 1e-5 if precision == "float32" else 0.05
            np.testing.assert_allclose(short[name].logits, whole[name].logits, atol=close)
