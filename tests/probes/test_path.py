"""The line between two networks: its points against the slow way in float64, its barriers against closed forms."""

import copy
import math

import numpy as np
import pytest
import torch
import torchvision
from lines import naive
from lines.nets import Hill, Normed, Product, Tied, pictures, trained
from probing.nets import made
from torch import nn

import transferscope
from transferscope.errors import UserError
from transferscope.measures.barrier import entezari, frankle
from transferscope.probes.walks.line_barrier import line_barrier
from transferscope.probes.walks.path import LinearPath, path
from transferscope.probes.walks.refine import refined
from transferscope.probes.walks.scored import Scored

X, Y = pictures(300, seed=9)
TEST = [(X[:100], Y[:100]), (X[100:], Y[100:])]
FRESH = pictures(100, seed=3)[0]
A, B = trained(1), trained(2)
ROUNDING = 1e-12  # of a mean of some hundred errors in float64: additions round by 1e-16, fused or not, in any order


@pytest.fixture(scope="module")
def apart() -> LinearPath:
    return path(A, B, TEST, alphas=11, statistics=[FRESH])


def slow(alpha, refresh=FRESH, a=A, b=B):
    return naive.logits(a, naive.state_at(a, b, alpha), X, refresh)


def test_every_point_is_that_of_the_slow_way(apart):
    assert apart.alphas == pytest.approx(np.linspace(0, 1, 11))
    for i, alpha in enumerate(apart.alphas):
        loss, error = naive.loss_and_error(slow(alpha), Y.numpy())
        assert abs(apart.loss[0, i] - loss) < 1e-3 and abs(apart.error[0, i] - error) < 0.001
        assert apart.score[0, i] == pytest.approx(1 - apart.error[0, i])


def test_the_networks_own_metrics_stand_beside_the_ends(apart):
    with torch.no_grad():
        for net, i in ((A, 0), (B, 1)):
            assert apart.own_score[0, i] == np.mean((net(X).argmax(1) == Y).numpy())
            assert apart.own_error[0, i] == pytest.approx(1 - apart.own_score[0, i])
            assert apart.own_loss[0, i] == pytest.approx(float(nn.functional.cross_entropy(net(X), Y)), abs=1e-5)
    own = apart.table()["own_error"].to_list()
    assert own[0] == apart.own_error[0, 0] and own[-1] == apart.own_error[0, 1] and set(own[1:-1]) == {None}


def stale(net):
    """The network with running statistics that are not those of its inputs."""
    net = copy.deepcopy(net)
    for norm in (net.bn1, net.bn2, net.bn3):
        norm.running_mean.copy_(norm.running_mean * 0.2 - 1)
        norm.running_var.fill_(9)
    return net


def test_a_line_has_one_basis_whatever_statistics_its_ends_came_with(apart):
    """Stale statistics at the ends alone would hide the barrier: they are re-estimated like all between."""
    found = path(stale(A), stale(B), TEST, alphas=[0, 1e-4, 0.5, 1 - 1e-4, 1], statistics=[FRESH])
    assert found.error[0, 0] == pytest.approx(found.error[0, 1], abs=0.01)
    assert found.error[0, -1] == pytest.approx(found.error[0, -2], abs=0.01)
    five = path(A, B, TEST, alphas=3, statistics=[FRESH])
    assert found.error[0, [0, 2, 4]] == pytest.approx(five.error[0], abs=0.01)
    height = found.error[0, 2] - (found.error[0, 0] + found.error[0, -1]) / 2
    assert found.barrier(kind="frankle").mean == pytest.approx(height, abs=0.01) and height > 0.05
    assert (found.own_error[0] > found.error[0, [0, -1]] + 0.1).all() and found.differs.tolist() == [[True, True]]
    told = [note for note in found.notes if "with its own batch-norm statistics" in note]
    assert [note[:9] for note in told] == ["Network a", "Network b"] and "standard errors" in told[0]
    assert "same order" not in "".join(found.notes)
    alone = line_barrier(stale(A), stale(B), TEST, statistics=[FRESH])
    dense = path(A, B, TEST, alphas=61, statistics=[FRESH]).barrier().mean
    assert (
        alone.low - 1e-9 <= dense <= alone.high + 1 / alone.n  # on some processors an image strays between two alphas
        and (alone.own > alone.ends + 0.1).all()
        and len(alone.notes) == 2
    )


def test_where_statistics_came_from_is_said(apart):
    assert "on 100 images given as statistics" in apart.batch_norm
    found = path(A, B, TEST, alphas=3)
    assert "on 250 of the images of 'data' that are scored" in found.batch_norm
    assert any("no statistics= were given" in note for note in found.notes)
    assert not any("statistics=" in note for note in path(A, B, TEST, alphas=3, batch_norm="average").notes)


@pytest.mark.parametrize("alphas", [np.int64(5), np.uint8(5), np.array(5), np.linspace(0, 1, 5), np.arange(5) / 4])
def test_numbers_of_numpy_are_alphas(alphas):
    assert path(
        Hill(-1), Hill(1), [(torch.rand(8, 1), torch.zeros(8, dtype=torch.long))], alphas=alphas
    ).alphas.tolist() == [0, 0.25, 0.5, 0.75, 1]


@pytest.mark.parametrize("kind", ["average", "first", "last"])
def test_other_statistics_are_those_named(kind):
    found = path(A, B, TEST, alphas=[0, 0.3, 1], batch_norm=kind)
    for i, alpha in enumerate((0, 0.3, 1)):
        state = naive.state_at(A, B, alpha)
        if kind != "average":
            end = (A if kind == "first" else B).state_dict()
            state |= {name: t.double() for name, t in end.items() if "running" in name}
        loss, error = naive.loss_and_error(naive.logits(A, state, X), Y.numpy())
        assert abs(found.loss[0, i] - loss) < 1e-3 and abs(found.error[0, i] - error) < 0.001
    for net, i in ((A, 0), (B, 1)):
        own = naive.loss_and_error(net(X).detach().numpy(), Y.numpy())[0]
        assert found.own_loss[0, i] == pytest.approx(own, abs=1e-5)
    assert {"average": "interpolated", "first": "network a", "last": "network b"}[kind] in found.batch_norm


def test_statistics_decide_the_answer_and_are_named(apart):
    averaged = path(A, B, TEST, alphas=11, batch_norm="average")
    assert averaged.barrier(measure="loss").mean != pytest.approx(apart.barrier(measure="loss").mean, abs=0.01)
    assert "re-estimated" in apart.batch_norm and "100 images" in apart.batch_norm


def test_heights_are_those_of_the_curves(apart):
    for measure, curve in (("error", apart.error[0]), ("loss", apart.loss[0])):
        for kind, of in (("frankle", frankle), ("entezari", entezari)):
            found = apart.barrier(measure=measure, kind=kind)
            largest = of(apart.alphas, curve)
            assert largest - 0.05 < found.mean <= largest + 1e-12 and found.n == 300, "chosen on other images"
            assert found.low <= found.mean <= found.high
    i = int(np.argmax(apart.error[0]))
    assert apart.at(kind="frankle") == apart.alphas[i]
    rows = apart.barriers()
    assert rows.height == 4 and set(rows["barrier"]) == {"frankle", "entezari"}


def test_a_hill_has_exactly_its_height():
    x = (torch.arange(1000) + 0.5).div(1000)[:, None]
    data = [(x, torch.zeros(1000, dtype=torch.long))]
    found = path(Hill(-1), Hill(1), data, alphas=21)
    assert found.barrier().mean == pytest.approx(0.6) == found.barrier(kind="frankle").mean
    assert found.at() == 0.5
    assert found.error[0] == pytest.approx(0.6 * (1 - (2 * found.alphas - 1) ** 2), abs=0.001)


def test_the_loss_of_a_product_is_that_of_the_formula():
    data = [(torch.ones(10, 1), torch.zeros(10, dtype=torch.long))]
    found = path(Product(1, 1), Product(-1, -1), data, alphas=[-0.5, 0, 0.2, 0.5, 1, 1.5])
    assert found.loss[0] == pytest.approx(np.log1p(np.exp(-((1 - 2 * found.alphas) ** 2))), abs=1e-6)
    assert found.barrier(measure="loss").mean == pytest.approx(math.log(2) - math.log1p(math.exp(-1)), abs=1e-6)


def test_a_network_and_itself_have_no_barrier():
    found = path(A, A, TEST, alphas=5, statistics=[pictures(256)[0]])
    assert found.barrier().mean <= 0.02
    averaged = path(A, A, TEST, alphas=5, batch_norm="average")
    assert averaged.barrier().mean == pytest.approx(0, abs=ROUNDING)
    assert averaged.barrier(measure="loss").mean == pytest.approx(0, abs=1e-6)  # weights mixed in float32


def test_no_change_in_so_many_images_is_no_proof():
    found = path(A, A, TEST, alphas=3, batch_norm="average").barrier()
    assert (found.mean, found.low) == pytest.approx((0, 0), abs=ROUNDING)
    assert 0.01 < found.high < 0.02  # Wilson, 0 of 300: 0.0126


def test_several_data_sets_beyond_the_ends():
    other = pictures(50, seed=11)
    found = path(A, B, {"near": TEST, "far": [other]}, alphas=[-0.5, 0.5, 1.25], statistics=[FRESH])
    assert found.alphas.tolist() == [-0.5, 0, 0.5, 1, 1.25] and found.names == ("near", "far")
    assert found.n.tolist() == [300, 50]
    for i in (0, 4):
        loss, error = naive.loss_and_error(slow(found.alphas[i]), Y.numpy())
        assert abs(found.loss[0, i] - loss) < 1e-3 and abs(found.error[0, i] - error) < 0.001
    alone = path(A, B, [other], alphas=[-0.5, 0.5, 1.25], statistics=[FRESH])
    assert np.abs(found.loss[1] - alone.loss[0]).max() < 1e-5
    assert 0 <= found.at("far") <= 1 and found.table().height == 10


def test_negative_variances_are_refused_and_refreshing_mends_them():
    a, b = copy.deepcopy(A), copy.deepcopy(B)
    a.bn2.running_var.fill_(0.1)
    b.bn2.running_var.fill_(4)
    with pytest.raises(UserError, match=r"alpha -0.2: a variance of batch norm 'bn2' is negative.*refresh"):
        path(a, b, TEST, alphas=[-0.2, 0, 1], batch_norm="average")
    assert np.isfinite(path(a, b, TEST, alphas=[-0.2, 0, 1]).loss).all()


@pytest.mark.parametrize("fails", [False, True])
def test_both_networks_are_left_as_found(fails):
    a, b = trained(1).train(), trained(2)
    if fails:
        with torch.no_grad():
            b.fc.weight.fill_(2e38)
    before = [copy.deepcopy(net.state_dict()) for net in (a, b)]
    chance = torch.get_rng_state()
    if fails:
        with pytest.raises(UserError, match="alpha"):
            path(a, b, TEST, alphas=3)
    else:
        path(a, b, TEST, alphas=3)
    for net, state in zip((a, b), before, strict=True):
        assert all(torch.equal(t, state[name]) for name, t in net.state_dict().items())
    assert a.training and a.bn1.training and not b.training and type(a.conv1) is nn.Conv2d
    assert torch.equal(torch.get_rng_state(), chance)


def test_tied_weights_move_once_and_integers_stay():
    a, b = made(Tied, seed=1), made(Tied, seed=2)
    b.steps += 4
    x, y = torch.randn(40, 4, generator=torch.Generator().manual_seed(0)), torch.arange(40) % 4
    found = path(a, b, [(x, y)], alphas=[0.25])
    moved = copy.deepcopy(a).double()
    with torch.no_grad():
        for name, p in moved.named_parameters():
            p.copy_(0.75 * p + 0.25 * b.get_parameter(name))
        loss = naive.loss_and_error(moved(x.double()).numpy(), y.numpy())[0]
    assert found.loss[0, 1] == pytest.approx(loss, abs=1e-5)
    assert int(a.steps) == 3 and int(b.steps) == 7


def test_frozen_parameters_move_too(apart):
    b = copy.deepcopy(B)
    with torch.no_grad():
        b.conv2.bias += 1
    assert not b.conv2.bias.requires_grad
    found = path(A, b, TEST, alphas=[0.5], batch_norm="average")
    loss = naive.loss_and_error(naive.logits(A, naive.state_at(A, b, 0.5), X), Y.numpy())[0]
    assert found.loss[0, 1] == pytest.approx(loss, abs=1e-4)


def test_heads_of_different_width_need_one_to_be_chosen():
    b = trained(2, classes=6)
    with pytest.raises(UserError, match=r"'fc.weight' is \[4, 12\] in a and \[6, 12\] in b; .*head='a'"):
        path(A, b, TEST)
    kept = path(A, b, TEST, alphas=3, head="a", batch_norm="average")
    whole = copy.deepcopy(b)
    whole.fc = copy.deepcopy(A.fc)
    wanted = path(A, whole, TEST, alphas=3, batch_norm="average")
    assert np.abs(kept.loss - wanted.loss).max() < 1e-6 and "network a" in kept.head
    other = path(A, b, TEST, alphas=3, head="b")
    with torch.no_grad():
        assert other.own_error[0, 1] == np.mean((b(X).argmax(1) != Y).numpy())


def test_classes_in_another_order_are_remarked_on(apart):
    b = copy.deepcopy(A)
    with torch.no_grad():
        for p in (b.fc.weight, b.fc.bias):
            p.copy_(p[[1, 2, 3, 0]])
    found = path(A, b, TEST, alphas=3, statistics=[FRESH])
    assert "Network b" in found.notes[0] and "same order" in found.notes[0]
    assert not any("same order" in note for note in apart.notes)


def test_two_classes_have_a_barrier_of_the_auc_too():
    a, b = trained(1, classes=2), trained(2, classes=2)
    found = path(a, b, [(X, Y % 2)], alphas=5)
    assert found.metric == "auc" and found.measures == ("error", "loss", "1 - auc")
    height = found.barrier(measure="1 - auc")
    assert height.mean == pytest.approx(entezari(found.alphas, 1 - found.score[0])) and height.low <= height.high
    alone = path(a, b, [(X, Y * 0)], alphas=3)
    assert np.isnan(alone.score).all() and alone.barrier(measure="1 - auc").low is None
    assert alone.table()["score"].null_count() == 3 and alone.barriers()["height"].null_count() == 2


def test_many_labels():
    several = (torch.rand(300, 4, generator=torch.Generator().manual_seed(1)) > 0.5).long()
    found = path(A, B, [(X, several)], alphas=5)
    assert found.metric == "auc" and np.isfinite(found.heights).all()


@pytest.mark.parametrize("pair", [(Hill(-1), Hill(1)), (Hill(-1, width=0.3), Hill(1, width=0.3))])
def test_adaptive_alphas_find_the_height_within_the_tolerance(pair):
    x = (torch.arange(500) + 0.5).div(500)[:, None]
    data = [(x, torch.zeros(500, dtype=torch.long))]
    dense = path(*pair, data, alphas=201).barrier().mean
    found = path(*pair, data, tolerance=0.01)
    assert abs(found.barrier().mean - dense) <= 0.01 and found.grid_error <= 0.01
    assert 9 <= len(found.alphas) < 40
    assert {0.0, 1.0} <= set(found.alphas.tolist())


def test_adaptive_alphas_of_a_straight_line_stay_few():
    x = (torch.arange(500) + 0.5).div(500)[:, None]
    found = path(Hill(0), Hill(0), [(x, torch.zeros(500, dtype=torch.long))])
    assert len(found.alphas) == 9 and found.grid_error < 1e-9


def test_what_is_left_open_by_a_coarse_grid_is_said():
    x = (torch.arange(500) + 0.5).div(500)[:, None]
    found = path(Hill(-1, width=0.3), Hill(1, width=0.3), [(x, torch.zeros(500, dtype=torch.long))], alphas=4)
    dense = path(Hill(-1, width=0.3), Hill(1, width=0.3), [(x, torch.zeros(500, dtype=torch.long))], alphas=101)
    assert dense.barrier().mean > 0.5 and found.barrier().mean < 0.1


def test_saving_and_tables(apart, tmp_path):
    apart.save(tmp_path / "line.safetensors")
    again = transferscope.load(tmp_path / "line.safetensors")
    assert again.table().equals(apart.table()) and again.barriers().equals(apart.barriers())
    assert again.notes == apart.notes and again.names == apart.names
    assert apart.chart().to_dict()["hconcat"]


def test_seeds_decide_the_folds_alone(apart):
    same = path(A, B, TEST, alphas=11, statistics=[FRESH])
    other = path(A, B, TEST, alphas=11, statistics=[FRESH], seed=1)
    assert np.array_equal(same.heights, apart.heights) and not np.array_equal(other.heights, apart.heights)
    assert np.array_equal(other.heights[..., 3], apart.heights[..., 3])
    np.testing.assert_allclose(other.heights[..., 0], apart.heights[..., 0], atol=0.05)


def test_states_are_walked_whatever_the_network_holds(apart):
    found = path(A.state_dict(), B.state_dict(), TEST, alphas=11, statistics=[FRESH], like=made(Normed))
    assert np.abs(found.loss - apart.loss).max() < 1e-6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alphas": 1}, "at least 2"),
        ({"alphas": np.int64(1)}, "at least 2"),
        ({"alphas": np.zeros((2, 2))}, "finite numbers"),
        ({"alphas": True}, "finite numbers"),
        ({"alphas": 0.5}, "finite numbers"),
        ({"alphas": {"a": 1}}, "finite numbers"),
        ({"b": Normed}, "path: b is the class Normed, not a network"),
        ({"alphas": [0.0, float("nan"), 1.0]}, "finite numbers"),
        ({"alphas": [1.0, 0.0]}, "ascending"),
        ({"alphas": []}, "finite numbers"),
        ({"alphas": "dense"}, "'dense' is no number"),
        ({"batch_norm": "none"}, "batch_norm: 'none'"),
        ({"head": "c"}, "head: 'c'"),
        ({"measure": "auc"}, "neither 'error'"),
        ({"tolerance": 0}, "above 0"),
        ({"batches": []}, "no images"),
        ({"b": Tied()}, r"'conv1.weight' is \[8, 3, 3, 3\] in a and missing in b"),
        ({"b": Normed(width=6)}, r"path: 'conv1.weight' is \[8, 3, 3, 3\] in a and \[6, 3, 3, 3\] in b"),
    ],
)
def test_bad_input_is_one_sentence(options, message):
    given = {"b": B, "batches": TEST, **options}
    with pytest.raises(UserError, match=message) as error:
        path(A, given.pop("b"), given.pop("batches"), **given)
    assert str(error.value).count(". ") == 0


def test_broken_weights_are_named():
    b = copy.deepcopy(B)
    with torch.no_grad():
        b.bn2.weight[3] = torch.nan
    with pytest.raises(UserError, match=r"path: 'bn2.weight' holds NaN or infinite values in b"):
        path(A, b, TEST)


@pytest.mark.parametrize("batch_norm", ["refresh", "average"])
def test_the_barrier_alone_is_that_of_the_curve(batch_norm):
    many = [pictures(1500, seed=21)]
    found = line_barrier(A, B, many, statistics=[FRESH], batch_norm=batch_norm)
    dense = path(A, B, many, statistics=[FRESH], batch_norm=batch_norm, alphas=61).barrier().mean
    assert abs(found.height - dense) <= 0.01 and found.low - 0.01 <= dense <= found.high + 0.01
    refreshed = batch_norm == "refresh"  # then both networks are also looked at with their own statistics
    assert found.n == 1500 and found.evaluated == found.seen.sum() + 250 * refreshed
    assert found.table().height == len(found.alphas) and found.refreshed == 100 * len(found.alphas) * refreshed


def test_the_barrier_of_a_hill_alone_needs_few_images(tmp_path):
    x = torch.rand(2000, 1, generator=torch.Generator().manual_seed(0))
    data = [(x, torch.zeros(2000, dtype=torch.long))]
    found = line_barrier(Hill(-1), Hill(1), data)
    dense = path(Hill(-1), Hill(1), data, alphas=101).barrier().mean
    assert abs(found.height - dense) <= 0.01 and found.passes < 7 and found.alpha == pytest.approx(0.5, abs=0.1)
    again = line_barrier(Hill(-1), Hill(1), torch.utils.data.TensorDataset(x, data[0][1]))
    assert again.table().equals(found.table())
    found.save(tmp_path / "barrier.safetensors")
    assert transferscope.load(tmp_path / "barrier.safetensors").table().equals(found.table())
    assert found.chart().to_dict()
    flat = line_barrier(Hill(0, height=0.3), Hill(0, height=0.3), data)
    assert flat.height == 0 and flat.passes < 5
    loss = line_barrier(Hill(-1), Hill(1), data, measure="loss", tolerance=0.5)
    assert loss.height == pytest.approx(path(Hill(-1), Hill(1), data, alphas=101).barrier(measure="loss").mean, abs=0.5)


def test_the_barrier_alone_refuses_what_it_cannot_do():
    for options, message in (({"tolerance": -1}, "above 0"), ({"measure": "auc"}, "neither")):
        with pytest.raises(UserError, match=message):
            line_barrier(A, B, TEST, **options)
    with pytest.raises(UserError, match="one data set"):
        line_barrier(A, B, {"x": TEST})


def _walked(error, auc=None):
    """`refined` over a curve of the error (and of 1 - AUC): the alphas it ends with."""
    one_minus = auc or error

    def walk(alpha):
        value = np.array([error(alpha)])
        return {"data": Scored(value, value, 1 - one_minus(alpha), np.zeros((1, 2), np.float32))}

    found = {float(alpha): walk(float(alpha)) for alpha in np.linspace(0, 1, 9)}
    refined(found, walk, "error", 0.02)
    return np.array(sorted(found))


def test_adaptive_alphas_serve_frankles_barrier_where_the_ends_differ():
    """Low on the left the curve is furthest above its chord, and it is highest on the right."""

    def curve(alpha):
        left, right = np.exp(-(((alpha - 0.25) / 0.14) ** 2)), np.exp(-(((alpha - 0.92) / 0.12) ** 2))
        return 0.1 + 0.4 * alpha + 0.35 * left + 0.2 * right

    fine, found = np.linspace(0, 1, 2001), _walked(curve)
    assert frankle(found, curve(found)) == pytest.approx(frankle(fine, curve(fine)), abs=0.005)
    assert len(found) < 40


def test_adaptive_alphas_follow_the_auc_where_the_error_is_flat():
    def auc(alpha):
        return 0.2 + 0.2 * np.exp(-(((alpha - 0.31) / 0.09) ** 2))

    found = _walked(lambda alpha: 0.05 + 0 * alpha, auc)
    assert entezari(found, auc(found)) == pytest.approx(0.2, abs=0.02)


@pytest.mark.parametrize("seed", range(3))
def test_adaptive_alphas_hold_the_tolerance_on_ragged_curves(seed):
    """Of 96 images one is a whole point: a curve that jumps from alpha to alpha against a dense grid of it."""
    draw = np.random.default_rng(seed)
    turns = draw.random((96, 5)).cumsum(1) / 3  # each image changes between right and wrong at five places
    hard = draw.random(96) < 0.3

    def walk(alpha):
        wrong = ((turns < alpha).sum(1) % 2 == 1) ^ hard
        return {"data": Scored(wrong * 1.0, wrong * 1.0, 1 - wrong.mean(), np.zeros((96, 2), np.float32))}

    dense = [float(alpha) for alpha in np.linspace(0, 1, 1025)]
    truth = entezari(dense, [walk(alpha)["data"].wrong.mean() for alpha in dense])
    found = {float(alpha): walk(float(alpha)) for alpha in np.linspace(0, 1, 9)}
    before = entezari(list(found), [walk(alpha)["data"].wrong.mean() for alpha in found])
    left = refined(found, walk, "error", 0.01)
    alphas = sorted(found)
    height = entezari(alphas, [found[alpha]["data"].wrong.mean() for alpha in alphas])
    assert truth - height <= max(0.01, left) < 0.06 and truth - height < 0.021
    assert truth - before > 0.011  # the coarse grid misses it


def test_a_tolerance_that_is_not_reached_is_said():
    few = [pictures(60, seed=9)]
    found = path(A, B, few, statistics=[FRESH], tolerance=0.002)
    assert found.grid_error > 0.002 and any("0.002 was not reached" in note for note in found.notes)
    assert not any("not reached" in note for note in path(A, B, few, statistics=[FRESH], alphas=5).notes)


def test_a_frozen_norm_is_a_norm():
    """The same weights with torchvision's frozen batch norm have the same line, not one with a barrier of its own."""

    def frozen(net):
        net = copy.deepcopy(net)
        for name in ("bn1", "bn2"):
            of = net.get_submodule(name)
            twin = torchvision.ops.FrozenBatchNorm2d(of.num_features)
            twin.load_state_dict({n: t for n, t in of.state_dict().items() if n != "num_batches_tracked"})
            setattr(net, name, twin)
        return net

    found = path(frozen(A), frozen(B), TEST, alphas=3, statistics=[FRESH])
    plain = path(A, B, TEST, alphas=3, statistics=[FRESH])
    assert np.abs(found.loss - plain.loss).max() < 1e-3 and found.batch_norm == plain.batch_norm
    alone = line_barrier(frozen(A), frozen(B), TEST, statistics=[FRESH])
    assert alone.refreshed == 100 * len(alone.alphas)
