"""Averages, greedy soups and WiSE-FT against plain loops over state dicts in float64."""

import copy

import numpy as np
import pytest
import torch
from probing.nets import images
from torch import nn
from toy.nets import tiny

import transferscope as ts
from transferscope.errors import UserError
from transferscope.models.norm import refresh_batch_norm
from transferscope.probes.walks.average import average
from transferscope.probes.walks.wise import wise_ft
from transferscope.probes.weights.combine import combine


def plain(classes=3, seed=0):
    """No batch norm, float64: exact to follow by hand."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Flatten(), nn.Linear(48, 6), nn.Tanh(), nn.Linear(6, classes)).double()


def data(n=60, classes=3, seed=0, size=4):
    x = images(n, size, seed)
    y = torch.randint(classes, (n,), generator=torch.Generator().manual_seed(seed + 1))
    return x, y


def batches(x, y, size=16):
    return list(zip(x.split(size), y.split(size), strict=True))


def trained_on(x, y, seed, steps=40, start=None):
    net = plain(seed=seed) if start is None else copy.deepcopy(start)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        step = torch.optim.Adam(net.parameters(), 0.02)
        for _ in range(steps):
            rows = torch.randint(len(x), (16,))
            step.zero_grad()
            nn.functional.cross_entropy(net(x[rows]), y[rows]).backward()
            step.step()
    return net


def by_hand(nets, weights, x, y):
    """Accuracy and loss of the weighted average."""
    net = copy.deepcopy(nets[0])
    net.load_state_dict(
        {n: sum(w * other.state_dict()[n] for w, other in zip(weights, nets, strict=True)) for n in net.state_dict()}
    )
    with torch.no_grad():
        z = net(x)
    return float((z.argmax(1) == y).double().mean()), float(nn.functional.cross_entropy(z, y))


def held(net):
    return {n: t.clone() for n, t in net.state_dict().items()}


def test_uniform_average_singles_and_ensemble(tmp_path):
    x, y = data()
    x = x.double()
    nets = [trained_on(x, y, seed) for seed in range(3)]
    before = [held(net) for net in nets]
    found = average(nets, batches(x, y))
    assert found.single.shape == (3, 1) and found.data == ("data",) and found.metric == "accuracy"
    for i, net in enumerate(nets):
        assert (found.single[i, 0], found.single_loss[i, 0]) == pytest.approx(by_hand([net], [1], x, y), abs=1e-6)
    third = [1 / 3] * 3
    assert (found.average[0], found.average_loss[0]) == pytest.approx(by_hand(nets, third, x, y), abs=1e-6)
    with torch.no_grad():
        p = torch.stack([net(x).softmax(1) for net in nets]).mean(0)
    assert found.ensemble[0] == pytest.approx(float((p.argmax(1) == y).double().mean()))
    assert found.ensemble_loss[0] == pytest.approx(float(nn.functional.nll_loss(p.log(), y)), abs=1e-6)
    assert found.members == (0, 1, 2) and found.batch_norm == "none"
    nets[0].load_state_dict(found.tensors)
    assert by_hand([nets[0]], [1], x, y)[0] == found.average[0]
    nets[0].load_state_dict(before[0])
    for net, was in zip(nets, before, strict=True):
        assert all(torch.equal(t, was[n]) for n, t in net.state_dict().items())
    gain = found.gain("best")
    errors = 1 - found.single[:, 0]
    smallest = errors.min() - (1 - found.average[0])
    assert smallest - 1e-9 <= gain.mean < smallest + 0.1, "the best is chosen on some images and compared on others"
    assert gain.low <= gain.mean <= gain.high
    assert found.gain("mean").mean == pytest.approx(errors.mean() - (1 - found.average[0]))
    assert found.gain("ensemble").mean == pytest.approx(found.average[0] - found.ensemble[0])
    found.save(tmp_path / "a.safetensors")
    again = ts.load(tmp_path / "a.safetensors")
    assert again.table().equals(found.table()) and found.chart().to_dict()
    assert found.table()["network"].to_list() == ["network 1", "network 2", "network 3", "average", "ensemble"]
    assert all(torch.equal(again.tensors[n], t) for n, t in found.tensors.items())


def test_weights_two_data_sets_and_no_batches():
    x, y = data()
    x = x.double()
    nets = [plain(seed=s) for s in range(2)]
    found = average(nets, {"one": batches(x, y), "two": batches(x[:20], y[:20])}, weights=[0.25, 0.75])
    assert found.recipe == "weighted" and found.average.shape == (2,)
    assert found.average_loss[1] == pytest.approx(by_hand(nets, [0.25, 0.75], x[:20], y[:20])[1], abs=1e-6)
    assert found.table().height == 8 and found.chart().to_dict() and found.gain("mean", "two").n == 20
    alone = average(nets, weights=[0.25, 0.75])
    assert alone.data == () and alone.single.shape == (2, 0) and alone.table().height == 0
    np.testing.assert_array_equal(alone.state["1.weight"], found.state["1.weight"])
    exact = average(nets, weights=[0.0, 1.0])
    np.testing.assert_array_equal(exact.state["1.weight"], nets[1].state_dict()["1.weight"].numpy())
    with pytest.raises(UserError, match="nothing was evaluated"):
        alone.chart()


def test_the_greedy_soup_is_that_of_the_recipe():
    x, y = data(200)
    x = x.double()
    held_x, held_y, test_x, test_y = x[:100], y[:100], x[100:], y[100:]
    base = trained_on(x[:150], y[:150], 0)
    nets = [trained_on(x[:150], y[:150], s, 15, base) for s in range(3)] + [plain(seed=9)]
    found = average(nets, batches(test_x, test_y), kind="greedy", held_out=batches(held_x, held_y))
    alone = [by_hand([net], [1], held_x, held_y)[0] for net in nets]
    order = sorted(range(4), key=lambda i: -alone[i])
    soup, best, tried = [order[0]], alone[order[0]], [alone[order[0]]]
    for i in order[1:]:
        trial = [*soup, i]
        score = by_hand([nets[j] for j in trial], [1 / len(trial)] * len(trial), held_x, held_y)[0]
        tried.append(score)
        if score >= best:
            soup, best = trial, score
    assert found.order.tolist() == order and found.members == tuple(sorted(soup))
    np.testing.assert_allclose(found.tried, tried)
    np.testing.assert_allclose(found.held_out, alone)
    assert 3 not in found.members and found.data == ("data",)
    assert found.average[0] == pytest.approx(
        by_hand([nets[i] for i in soup], [1 / len(soup)] * len(soup), test_x, test_y)[0]
    )
    with pytest.raises(UserError, match="of the 100 held-out images are also in 'data'"):
        average(nets, batches(x, y), kind="greedy", held_out=iter(batches(held_x, held_y)))


def test_batch_norm_is_estimated_anew_for_the_average_and_every_network():
    x, y = data(40, size=16)
    torch.manual_seed(0)
    nets = [tiny(3), tiny(3)]
    for net in nets:
        net.train()
        with torch.no_grad():
            for _ in range(20):
                net(x + 1)
    found = average(nets, batches(x, y), statistics=[x])
    mixed = copy.deepcopy(nets[0])
    mixed.load_state_dict(combine([net.state_dict() for net in nets], [0.5, 0.5]))
    with torch.no_grad():
        first = mixed[0](x)
    np.testing.assert_allclose(found.state["1.running_mean"], first.mean((0, 2, 3)), atol=1e-5)
    np.testing.assert_allclose(found.state["1.running_var"], first.var((0, 2, 3)), rtol=1e-4)
    mixed.load_state_dict(found.tensors)
    with torch.no_grad():
        assert found.average_loss[0] == pytest.approx(float(nn.functional.cross_entropy(mixed.eval()(x), y)), abs=1e-5)
        own = float(nn.functional.cross_entropy(copy.deepcopy(nets[1]).eval()(x), y))
        fresh = copy.deepcopy(nets[1])
        refresh_batch_norm(fresh, [x])
        alike = float(nn.functional.cross_entropy(fresh.eval()(x), y))
    assert found.own_loss[1, 0] == pytest.approx(own, abs=1e-5) and found.batch_norm == "refresh"
    assert found.single_loss[1, 0] == pytest.approx(alike, abs=1e-5) and abs(own - alike) > 0.01
    assert found.table()["own_loss"][1] == found.own_loss[1, 0] and found.table()["own_loss"][2] is None
    given = average(nets, batches(x, y), batch_norm="as given")
    half = (nets[0][1].running_mean + nets[1][1].running_mean) / 2
    np.testing.assert_allclose(given.state["1.running_mean"], half, atol=1e-6)
    assert np.array_equal(given.single_loss, found.own_loss) and np.array_equal(given.single, given.own)
    assert given.batch_norm == "as given" and given.state["1.num_batches_tracked"] == 20
    unseen = average(nets, statistics=[x])
    np.testing.assert_allclose(unseen.state["4.running_var"], found.state["4.running_var"], rtol=1e-4)
    same = average([nets[0], nets[0]], weights=[0, 1], batch_norm="as given")
    np.testing.assert_array_equal(same.state["1.running_mean"], nets[0][1].running_mean)
    one = average(nets, batches(x, y), weights=[0, 1], statistics=[x])  # the basis is that of the networks beside it
    assert one.average_loss[0] == pytest.approx(one.single_loss[1, 0], abs=1e-6)
    with pytest.raises(UserError, match="have batch norm, whose statistics have to be re-estimated"):
        average(nets)
    assert all(net.training for net in nets)


def test_several_labels_and_one_output():
    x, _ = data(40)
    y = torch.randint(2, (40, 3), generator=torch.Generator().manual_seed(5))
    nets = [plain(seed=s) for s in range(2)]
    found = average(nets, batches(x.double(), y))
    assert found.metric == "auc"
    with torch.no_grad():
        p = torch.stack([net(x.double()).sigmoid() for net in nets]).mean(0)
    assert found.ensemble_loss[0] == pytest.approx(float(nn.functional.binary_cross_entropy(p, y.double())), abs=1e-6)
    np.testing.assert_allclose(found.errors["data"][-1], ((p > 0.5) != y.bool()).double().mean(1))


def test_bad_input_to_average_is_one_sentence():
    x, y = data()
    nets = [plain(seed=s) for s in range(2)]
    some = batches(x.double(), y)
    bad = copy.deepcopy(nets[0])
    with torch.no_grad():
        bad[1].bias[0] = torch.nan
    for call, words in [
        (lambda: average(nets[:1]), "1 network was given"),
        (lambda: average([]), "a sequence of at least two networks"),
        (lambda: average(nets[0]), "a sequence of at least two networks"),
        (lambda: average(tuple), "a sequence of at least two networks"),
        (lambda: average(nets, some, weights=tuple), "weights must be 2 numbers"),
        (lambda: average(nets, 5), "data: give a list of batches or a loader, not a int"),
        (lambda: average(nets, some, statistics=list), "statistics: give a list of batches or a loader, not a type"),
        (lambda: average([nn.LazyLinear(2), nn.LazyLinear(2)]), "network 1 has lazy layers"),
        (lambda: average([tuple, nets[0]]), "network 1 is the class tuple, not a network"),
        (lambda: average([nets[0], nn.Linear]), "network 2 is the class Linear, not a network"),
        (lambda: average([nets[0], "b.pt"]), "average: network 2: no file 'b.pt'"),
        (lambda: wise_ft(5, nets[0], some), "start is a int, not a network"),
        (lambda: average([nets[0], plain(4)]), r"'3\.weight' is \[3, 6\] in network 1 and \[4, 6\] in netw"),
        (lambda: average([nets[0], bad]), r"'1\.bias' holds NaN or infinite values in network 2"),
        (lambda: average(nets, weights=[1, 1]), "weights must be 2 numbers that add up to 1"),
        (lambda: average(nets, kind="best"), "neither 'uniform' nor 'greedy'"),
        (lambda: average(nets, some, kind="greedy"), "needs held_out="),
        (lambda: average(nets, some, held_out=some), "has no use for held_out="),
        (lambda: average(nets, some, kind="greedy", weights=[0.5, 0.5], held_out=some), "finds its own weights"),
        (lambda: average([{}, {}], like=nets[0]), r"'1\.weight' is .* and missing in network 1"),
        (lambda: average(nets, some).gain("best", "other"), "no data set 'other'"),
    ]:
        with pytest.raises(UserError, match=words):
            call()


def test_wise_ft_walks_the_body_under_the_tuned_head(tmp_path):
    x, y = data()
    x = x.double()
    start, tuned = plain(7, seed=1), trained_on(x, y, 2)
    before = held(start), held(tuned)
    found = wise_ft(start, tuned, {"in": batches(x, y), "out": batches(x[:30] + 1, y[:30])}, alphas=5)
    assert found.alphas.tolist() == [0, 0.25, 0.5, 0.75, 1] and found.head_names == ("3",)
    for i, alpha in enumerate(found.alphas):
        net = copy.deepcopy(tuned)
        with torch.no_grad():
            for name in ("1.weight", "1.bias"):
                net.get_parameter(name).copy_((1 - alpha) * before[0][name] + alpha * before[1][name])
        for d, (images_, labels) in enumerate([(x, y), (x[:30] + 1, y[:30])]):
            metric, loss = by_hand([net], [1], images_, labels)
            assert (found.metric[d, i], found.loss[d, i]) == pytest.approx((metric, loss), abs=1e-6)
    assert (
        (found.low <= found.metric).all() and (found.metric <= found.high).all() and found.images.tolist() == [60, 30]
    )
    assert found.best("in") == found.alphas[found.metric[0].argmax()]
    for net, was in zip((start, tuned), before, strict=True):
        assert all(torch.equal(t, was[n]) for n, t in net.state_dict().items())
    found.save(tmp_path / "w.safetensors")
    assert ts.load(tmp_path / "w.safetensors").table().equals(found.table()) and found.chart().to_dict()
    with pytest.raises(UserError, match="alphas must be"):
        wise_ft(start, tuned, batches(x, y), alphas=1)
    with pytest.raises(UserError, match=r"'1\.weight' is \[6, 48\] in the tuned network and missing in the start"):
        wise_ft(nn.Linear(2, 2), tuned, batches(x, y))
    with pytest.raises(UserError, match="no data set 'x'"):
        found.best("x")


def test_no_alpha_is_best_where_the_metric_is_undefined():
    x, _ = data(20)
    one_class = [(x.double(), torch.zeros(20, dtype=torch.long))]
    found = wise_ft(plain(2, 1), plain(2, 2), one_class, alphas=3)
    assert np.isnan(found.metric).all()
    with pytest.raises(UserError, match="the auc of 'data' is undefined"):
        found.best()


def drifted(seed):
    """A small network with batch norm whose own statistics are stale."""
    torch.manual_seed(seed)
    net = tiny(3)
    net[1].running_mean.fill_(3.0)
    net[4].running_var.fill_(40.0)
    return net.eval()


def fresh_loss(net, state, statistics, x, y):
    """Loss in float64 with the statistics of one training pass over `statistics`."""
    slow = copy.deepcopy(net).double()
    slow.load_state_dict({n: t.double() if t.is_floating_point() else t for n, t in state.items()})
    for module in slow.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
            module.reset_running_stats()
    with torch.no_grad():
        slow.train()(statistics.double())
        return float(nn.functional.cross_entropy(slow.eval()(x.double()), y))


def test_the_greedy_soup_chooses_on_one_basis():
    """Stale statistics of their own do not decide which network comes first."""
    x, y = data(120, size=16)
    nets = [drifted(0), drifted(1)]
    found = average(nets, batches(x[60:], y[60:]), kind="greedy", held_out=batches(x[:60], y[:60]), statistics=[x[:60]])
    for i, net in enumerate(nets):
        refreshed = copy.deepcopy(net)
        refresh_batch_norm(refreshed, [x[:60]])
        with torch.no_grad():
            right = float((refreshed.eval()(x[:60]).argmax(1) == y[:60]).double().mean())
        assert found.held_out[i] == pytest.approx(right, abs=1e-9)
        assert found.single_loss[i, 0] == pytest.approx(
            fresh_loss(net, net.state_dict(), x[:60], x[60:], y[60:]), abs=1e-4
        )
    assert found.tried[0] == found.held_out[found.order[0]]


def test_the_curve_of_wise_ft_has_one_basis():
    x, y = data(60, size=16)
    start, tuned = drifted(0), drifted(1)
    found = wise_ft(start, tuned, batches(x, y), alphas=np.int64(3), statistics=[x[:40]], head="9")
    assert found.alphas.tolist() == [0, 0.5, 1]
    head = {n: t for n, t in tuned.state_dict().items() if n.startswith("9")}
    ends = [start.state_dict() | head, tuned.state_dict()]
    for i, alpha in enumerate(found.alphas.tolist()):
        mixed = combine(ends, [1 - alpha, alpha])
        assert found.loss[0, i] == pytest.approx(fresh_loss(tuned, mixed, x[:40], x, y), abs=1e-4)
    for k, state in enumerate(ends):
        own = copy.deepcopy(tuned)
        own.load_state_dict(state)
        with torch.no_grad():
            assert found.own_loss[0, k] == pytest.approx(float(nn.functional.cross_entropy(own(x), y)), abs=1e-4)
    assert found.table()["own_loss"].to_list() == [found.own_loss[0, 0], None, found.own_loss[0, 1]]
    assert abs(found.own_loss[0, 1] - found.loss[0, 2]) > 0.005
    for options, words in (({"alphas": "many"}, "alphas must be"), ({"alphas": [[0, 1]]}, "alphas must be")):
        with pytest.raises(UserError, match=words):
            wise_ft(start, tuned, batches(x, y), head="9", **options)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_averages_of_other_precisions_have_the_same_statistics_seen_or_unseen(dtype):
    x, y = data(40, size=16)
    nets = [drifted(seed).to(dtype) for seed in (0, 1)]
    seen = average(nets, batches(x, y), statistics=[x])
    unseen = average(iter(nets), statistics=[x])
    for name in ("1.running_mean", "4.running_var"):
        np.testing.assert_allclose(unseen.state[name], seen.state[name], rtol=2e-2, atol=1e-3)
    with pytest.raises(UserError, match="statistics: batch 1 holds uint8 values"):
        average(nets, statistics=[x.to(torch.uint8)])
