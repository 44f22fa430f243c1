"""Criticality against cells computed by hand with full passes, border against grid, and what its docstring says."""

import copy

import numpy as np
import polars as pl
import pytest
import timm
import torch
from probing.crossed import ByHand, Crossed, Restless, plain
from probing.nets import made
from torch import nn

from transferscope.errors import UserError
from transferscope.models.blocks import blocks
from transferscope.models.norm import refresh_batch_norm
from transferscope.probes import result
from transferscope.probes.blocks.criticality import criticality
from transferscope.probes.blocks.errors import _wrong, guessed
from transferscope.probes.inputs.given import Batch
from transferscope.random_streams import stream

CLASSES = 4


def residual() -> nn.Module:
    return timm.create_model("resnet10t", num_classes=CLASSES, channels=(8, 8, 12, 16), stem_width=8)


def data(count=96, size=16, seed=0):
    """Images of four classes that differ in colour and in where they are bright."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(count) % CLASSES
    x = 0.7 * torch.randn(count, 3, size, size, generator=generator)
    x[y % 2 == 0, 0] += 0.8
    x[y >= 2, 1, : size // 2] += 0.9
    return x, y


def trained(kind, steps=40, lr=0.05):
    """(the network, its state at the start, states on the way)."""
    net, (x, y) = made(kind), data()
    start, way = copy.deepcopy(net.state_dict()), []
    optimiser = torch.optim.SGD(net.parameters(), lr, momentum=0.9)
    generator = torch.Generator().manual_seed(1)
    net.train()
    for step in range(steps):
        rows = torch.randperm(len(x), generator=generator)[:32]
        loss = nn.functional.cross_entropy(net(x[rows]), y[rows])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if step in (5, 15):
            way.append(copy.deepcopy(net.state_dict()))
    return net.eval(), start, way


KINDS = {"plain": plain, "crossed": Crossed, "residual": residual}


@pytest.fixture(scope="module", params=KINDS)
def case(request):
    return trained(KINDS[request.param])


@pytest.fixture(scope="module")
def crossed():
    return trained(Crossed)


def batched(size=32, count=96):
    x, y = data(count)
    return list(zip(x.split(size), y.split(size), strict=True))


def errors(net, x, y):
    with torch.no_grad():
        return int((net(x).argmax(1) != y).sum())


def refreshed(net, x):
    """A float64 copy whose running statistics are those of one pass of `x`, variances as training divides by."""
    other = copy.deepcopy(net).double()
    refresh_batch_norm(other, [x.double()], biased=True)
    return other.eval()


def cell(net, start, block, alpha, sigma, draws, seed=0, anew=True):
    """Wrong answers over all draws: a copy of the network with other weights, full passes on all images at once."""
    x, y = data()
    final, total = net.state_dict(), 0
    names = [n for n, _ in net.named_parameters() if any(n == p or n.startswith(p + ".") for p in block.prefixes)]
    for draw in range(draws):
        other = copy.deepcopy(net)
        state = {}
        for name in names:
            noise = stream(seed, "criticality", block.name, draw, name).standard_normal(
                final[name].numel(), dtype=np.float32
            )
            middle = torch.lerp(start[name], final[name], alpha) if alpha not in (0, 1) else (start, final)[alpha][name]
            state[name] = middle + sigma * torch.from_numpy(noise).view(final[name].shape)
        other.load_state_dict(state, strict=False)
        total += errors(refreshed(other, x), x.double(), y) if anew else errors(other.eval(), x, y)
    return total


@pytest.mark.parametrize("anew", [True, False], ids=["re-estimated", "as found"])
def test_cells_equal_full_passes_by_hand_and_the_score_follows(case, anew):
    net, start, _ = case
    options = {"alphas": [0, 0.5, 1], "sigmas": [0.1, 0.5, 2], "draws": 3, "search": "grid"}
    found = criticality(net, start, batched(), batch_norm="refresh" if anew else "as found", **options)
    x, y = data()
    assert found.own_error == errors(net, x, y) / 96
    at_start = errors(refreshed(net, x), x.double(), y) if anew else errors(net, x, y)
    assert found.final_error == at_start / 96 and found.allowed == pytest.approx(at_start / 96 + 0.01)
    cut = {block.name: block for block in blocks(net)}
    for b, name in enumerate(found.blocks):
        names = [n for n, _ in net.named_parameters() if any(n.startswith(p + ".") for p in cut[name].prefixes)]
        gap = torch.cat([(net.state_dict()[n].double() - start[n].double()).flatten() for n in names])
        weights = torch.cat([net.state_dict()[n].double().flatten() for n in names if net.state_dict()[n].ndim > 1])
        assert found.distance[b] == pytest.approx(float(gap.norm()), rel=1e-9)
        assert found.rms[b] == pytest.approx(float(weights.square().mean().sqrt()), rel=1e-9)
        best = np.inf
        for a, alpha in enumerate((0, 0.5, 1)):
            held = True  # at all lower levels
            for s, level in enumerate((0.1, 0.5, 2)):
                if (b + a + s) % 4 == 0 or len(found.blocks) < 5:
                    wrong = cell(net, start, cut[name], alpha, level * found.rms[b], 3, anew=anew)
                    assert found.error[b, a, s] * 96 * 3 == pytest.approx(wrong)
                held = held and bool(found.error[b, a, s] <= found.allowed + 1e-12)
                if held:
                    best = min(best, (alpha * found.distance[b] / (level * found.rms[b])) ** 2)
        assert found.mu[b] == pytest.approx(best, rel=1e-6)
        assert found.bare[b, -1] == found.final_error  # alpha 1 without noise is the network itself
    assert found.seen.min() == 1 and found.notes == ()
    assert found.network == found.mu.sum()


@pytest.mark.parametrize("batch_norm", ["refresh", "as found"])
def test_border_gives_the_score_of_the_grid_within_a_step_for_less(case, batch_norm):
    net, start, _ = case
    options = {"alphas": 5, "sigmas": 6, "sigma_max": 3.0, "draws": 3, "tolerance": 0.03, "batch_norm": batch_norm}
    grid = criticality(net, start, batched(32), search="grid", **options)
    border = criticality(net, start, batched(32), search="border", **options)
    step = np.log(grid.sigmas[1] / grid.sigmas[0])
    for b in range(len(grid.blocks)):
        if grid.mu[b] in (0, np.inf) or border.mu[b] in (0, np.inf):
            assert grid.mu[b] == border.mu[b], grid.blocks[b]
        else:
            assert abs(np.log(border.mu[b] / grid.mu[b])) / 2 <= step + 1e-9, grid.blocks[b]
    assert np.mean(np.isclose(border.mu, grid.mu) | (border.mu == grid.mu)) >= 0.7
    assert border.evaluations.sum() < 0.25 * grid.evaluations.sum()
    assert np.isnan(border.error[border.seen == 0]).all() and np.isnan(border.bare).all()
    full = border.seen == 1
    assert np.array_equal(border.error[full], grid.error[full])


@pytest.fixture(scope="module")
def truth(crossed):
    """Of three blocks on 480 images and under 24 draws."""
    net, start, _ = crossed
    options = {"blocks": ["stem", "two", "fc"], "alphas": 3, "sigmas": 4, "tolerance": 0.03, "batch_norm": "as found"}
    x, y = data(480, seed=7)
    return x, y, options, criticality(net, start, [(x, y)], draws=24, search="grid", seed=99, **options)


@pytest.mark.parametrize("search", ["border", "grid"])
def test_the_interval_holds_the_score_on_all_images_and_draws(crossed, truth, search):
    net, start, _ = crossed
    x, y, options, whole = truth
    held = []
    for seed in range(12):
        rows = torch.from_numpy(np.random.default_rng(seed).choice(480, 120, replace=False))
        few = list(zip(x[rows].split(40), y[rows].split(40), strict=True))
        found = criticality(net, start, few, draws=3, search=search, seed=seed, **options)
        assert (found.mu_low <= found.mu).all() and (found.mu <= found.mu_high).all()
        held += ((found.mu_low <= whole.mu * (1 + 1e-6)) & (whole.mu <= found.mu_high * (1 + 1e-6))).tolist()
    assert np.mean(held) >= 0.86, "of 36 at 95%, fewer than 31 in one of a hundred"


def test_more_draws_and_images_narrow_the_interval_and_one_draw_shows_nothing(crossed, truth):
    net, start, _ = crossed
    x, y, options, whole = truth
    few = [(x[:60], y[:60])]
    narrow = criticality(net, start, few, draws=3, search="grid", seed=99, **options)
    assert (whole.mu_low >= narrow.mu_low).all() and (whole.mu_high <= narrow.mu_high).all()
    assert (whole.mu_low > narrow.mu_low).any() and np.isfinite(whole.mu_high).any()
    one = criticality(net, start, few, draws=1, search="grid", **options)
    assert (one.mu_low == 0).all() and np.isinf(one.mu_high).all()


def test_the_interval_of_several_labels_and_of_statistics_estimated_anew(crossed):
    net, start, _ = crossed
    x, y = data()
    many = torch.nn.functional.one_hot(y, CLASSES).float()
    options = {"alphas": 3, "sigmas": 4, "draws": 3, "tolerance": 0.1, "blocks": ["two", "fc"]}
    for search in ("border", "grid"):
        for given in ([Batch(x, many, multilabel=True)], batched()):
            found = criticality(net, start, given, search=search, **options)
            assert (found.mu_low <= found.mu).all() and (found.mu <= found.mu_high).all()
            assert (found.mu_low < found.mu_high).any()


def test_an_inert_block_and_one_that_did_not_move_score_zero(crossed):
    net, start, _ = crossed
    start = {**start, "inert.weight": start["inert.weight"] + 1}  # it has no gradient
    for search in ("grid", "border"):
        found = criticality(net, start, batched(), alphas=3, sigmas=3, draws=2, search=search, blocks=["inert", "two"])
        assert found.blocks == ("two", "inert")
        assert found.mu[1] == 0 and found.alpha[1] == 0 and found.mu[0] > 0
        assert criticality(net, net, batched(), alphas=3, sigmas=3, draws=1, search=search).network == 0


def test_noise_does_not_depend_on_batches_blocks_or_threads(crossed):
    net, start, _ = crossed
    options = {"alphas": 3, "sigmas": 3, "draws": 2, "search": "grid"}
    whole = criticality(net, start, batched(), **options)
    other = criticality(net, start, batched(17), blocks=["two"], memory=0, **options)
    assert np.array_equal(other.error[0], whole.error[whole.blocks.index("two")])
    again = criticality(net, start, batched(), seed=1, **options)
    assert not np.array_equal(again.error, whole.error)
    first = criticality(net, start, batched(), alphas=3, sigmas=[1.0], draws=2, search="grid")
    assert np.array_equal(first.error[:, :, 0], whole.error[:, :, 2])  # the same noise in every grid


def test_tolerance_absolute_and_relative(crossed):
    net, start, _ = crossed
    options = {"alphas": 2, "sigmas": 2, "draws": 1, "blocks": "fc"}
    x, y = data()
    base = errors(net, x, y) / 96
    assert criticality(net, start, batched(), tolerance=0.05, **options).allowed == pytest.approx(base + 0.05)
    assert criticality(net, start, batched(), tolerance=0.05, relative=True, **options).allowed == pytest.approx(
        base * 1.05 + 1 / 96
    )
    zero = criticality(net, start, batched(), tolerance=0, relative=True, **options)
    assert zero.allowed == pytest.approx(base + 1 / 96)  # room for one image, even where nothing is wrong


def test_the_optimisation_path_counts_points_by_their_distance(crossed):
    net, start, way = crossed
    found = criticality(net, start, batched(), path=way, sigmas=4, draws=2, search="grid")
    assert found.path == "optimisation" and found.alphas.shape[1] == 4
    b = found.blocks.index("one")
    names = ("one.weight", "one.bias")
    gap = torch.cat([(way[0][n].double() - start[n].double()).flatten() for n in names]).norm()
    assert found.alphas[b, 1] == pytest.approx(float(gap) / found.distance[b])
    assert found.alphas[b, 0] == 0 and found.alphas[b, -1] == 1
    reach = found.alphas[b] * found.distance[b]
    good = np.logical_and.accumulate(found.error[b] <= found.allowed + 1e-12, axis=1)
    ratio = np.where(good, (reach[:, None] / (found.sigmas * found.rms[b])[None]) ** 2, np.inf)
    assert found.mu[b] == pytest.approx(ratio.min())
    straight = criticality(net, start, batched(), path=[], sigmas=4, draws=2, search="grid")
    ends = criticality(net, start, batched(), alphas=2, sigmas=4, draws=2, search="grid")
    assert np.array_equal(straight.error, ends.error)


def test_statistics_of_other_images_and_what_is_said_of_them(crossed):
    net, start, _ = crossed
    stale = copy.deepcopy(net)
    stale.norm.running_mean += torch.linspace(-9, 9, 8)
    x, y = data()
    other = data(64, seed=5)[0]
    options = {"alphas": 2, "sigmas": [0.5], "draws": 1, "search": "grid", "blocks": "stem"}
    found = criticality(stale, start, batched(), statistics=other.split(16), **options)
    assert found.batch_norm == "re-estimated everywhere, on 64 images given as statistics"
    assert found.precision == "float32" and found.own_error == errors(stale.eval(), x, y) / 96
    moved = copy.deepcopy(stale)
    assert found.final_error == errors(refreshed(moved, other), x.double(), y) / 96 == found.bare[0, -1]
    moved.load_state_dict({n: start[n] for n in ("stem.weight", "stem.bias", "norm.weight", "norm.bias")}, strict=False)
    assert found.bare[0, 0] == errors(refreshed(moved, other), x.double(), y) / 96
    assert found.own_error > found.final_error, "said where they differ"
    own = criticality(net, start, batched(), **options)
    assert own.batch_norm == "re-estimated everywhere, on the 96 images evaluated"
    assert criticality(net, start, batched(), batch_norm="as found", **options).batch_norm == "as found"
    plain_net = made(plain)
    assert criticality(plain_net, plain_net, batched(), draws=1).batch_norm == "none in the network"


def test_networks_and_images_of_other_precisions(crossed):
    net, start, _ = crossed
    options = {"alphas": 2, "sigmas": [0.1, 0.5], "draws": 2, "search": "grid"}
    whole = criticality(net, start, batched(), **options)
    x, y = data()
    double = criticality(copy.deepcopy(net).double(), start, [(x, y)], **options)
    assert np.abs(double.error - whole.error).max() <= 1 / 96
    single = criticality(net, start, [(x.double(), y)], **options)
    assert np.abs(single.error - whole.error).max() <= 1 / 96, "float64 images in a float32 network"
    half = criticality(copy.deepcopy(net).half(), start, [(x, y)], **options)
    assert np.abs(half.error - whole.error).mean() <= 1 / 96
    assert half.precision == "float32 (network given in float16)"


def test_the_share_of_the_largest_block(crossed):
    net, start, _ = crossed
    found = criticality(net, start, batched(), alphas=3, sigmas=4, draws=1)
    name, share = found.largest
    assert (
        share == pytest.approx(found.mu.max() / found.mu.sum()) and found.mu[found.blocks.index(name)] == found.mu.max()
    )
    assert np.isnan(criticality(net, net, batched(), alphas=3, sigmas=3, draws=1).largest[1]), "nothing moved"


@pytest.mark.parametrize("noise", [0.0, 1e-3, 0.3])
def test_guessed_answers_are_those_computed(noise):
    draw = np.random.default_rng(0)
    for labels in (draw.integers(0, 5, 200), draw.integers(0, 2, (200, 5)), draw.integers(0, 2, 200)):
        exact = draw.normal(0, 1, (200, 5 if labels.ndim == 2 or labels.max() > 1 else 1)).astype(np.float32)
        near = exact + noise * draw.uniform(-1, 1, exact.shape).astype(np.float32)
        asked = []
        found = guessed(near, labels, lambda rows, exact=exact, asked=asked: (asked.extend(rows), exact[rows])[1])
        assert np.array_equal(_wrong(found, labels), _wrong(exact, labels)) and len(asked) == len(set(asked))
        assert len(asked) < 60 or noise > 0.1
        few = []
        some = guessed(near, labels, lambda rows, exact=exact, few=few: (few.extend(rows), exact[rows])[1], enough=20)
        assert _wrong(some, labels).sum() > 20 and len(few) <= len(asked)
    lost = exact.copy()
    lost[3] = np.nan
    assert np.array_equal(guessed(lost, labels, lambda rows: exact[rows]), exact)


def test_of_state_dicts_whatever_the_network_holds(crossed):
    net, start, _ = crossed
    other = made(Crossed, seed=5)
    held = {n: (t.data_ptr(), t.clone()) for n, t in other.state_dict().items()}
    options = {"alphas": 2, "sigmas": 2, "draws": 1}
    found = criticality(net.state_dict(), start, batched(), like=other, **options)
    assert np.array_equal(found.mu, criticality(net, start, batched(), **options).mu)
    for name, tensor in other.state_dict().items():
        assert tensor.data_ptr() == held[name][0] and torch.equal(tensor, held[name][1])
    assert all(module.training for module in other.modules())
    with pytest.raises(
        UserError, match=r"^criticality: net: only 0.0% of the body's parameters.*'stem\.weight' is missing"
    ):
        criticality(made(plain).state_dict(), start, batched(), like=other)


def test_networks_that_are_hard_to_cut_are_right_and_say_so():
    net = made(ByHand)
    start = made(ByHand, seed=3)
    options = {"alphas": 2, "sigmas": [0.5], "draws": 2, "search": "grid"}
    found = criticality(net.eval(), start, batched(), **options)
    cut = {block.name: block for block in blocks(net)}
    for b, name in enumerate(found.blocks):
        wrong = cell(net, start.state_dict(), cut[name], 0, 0.5 * found.rms[b], 2)
        assert found.error[b, 0, 0] == pytest.approx(wrong / 192)
    assert found.mu[found.blocks.index("unused")] == 0 and found.notes == ()
    restless = criticality(made(Restless), made(Restless, seed=1), batched(), **options)
    assert any(note.startswith("fc: a pass that starts there is off by") for note in restless.notes)


def test_several_labels_and_one_output():
    x, y = data()
    net, start = made(plain), made(plain, seed=1)
    many = torch.nn.functional.one_hot(y, CLASSES).float()
    options = {"alphas": 2, "sigmas": [0.1], "draws": 1, "search": "grid"}
    found = criticality(net, start, [Batch(x, many, multilabel=True)], **options)
    with torch.no_grad():
        logits = net.eval()(x)
    assert found.final_error == pytest.approx(float(((logits > 0) != (many > 0.5)).float().mean()))
    one = made(plain, classes=1)
    found = criticality(one, made(plain, seed=1, classes=1), [(x, y % 2)], **options)
    with torch.no_grad():
        assert found.final_error == pytest.approx(float(((one.eval()(x)[:, 0] > 0) != (y % 2)).float().mean()))


def test_bfloat16_is_near(case):
    net, start, _ = case
    options = {"alphas": 3, "sigmas": 3, "draws": 2, "search": "grid"}
    exact = criticality(net, start, batched(96), **options)
    quick = criticality(net, start, batched(96), precision="bfloat16", **options)
    assert np.abs(exact.error - quick.error).max() <= 4 / 96
    assert abs(exact.final_error - quick.final_error) <= 1 / 96


def test_table_charts_saved_and_loaded(crossed, tmp_path):
    net, start, _ = crossed
    found = criticality(net, start, batched(), alphas=3, sigmas=3, draws=1, search="grid")
    table = found.table()
    assert table["block"].to_list() == list(found.blocks)
    columns = ["block", "mu", "root", "alpha", "sigma", "sigma_relative", "distance", "evaluations"]
    assert table.columns == [*columns, "mu_low", "mu_high"]
    row = table.filter(pl.col("block") == "two").row(0, named=True)
    assert row["mu"] == pytest.approx((row["alpha"] * row["distance"] / row["sigma"]) ** 2)
    assert row["root"] ** 2 == pytest.approx(row["mu"]) and row["evaluations"] == 9
    assert found.chart().to_dict() and found.valley("one").to_dict()
    drawn = found.valley("one").data
    assert drawn["noise"].n_unique() == 7 and drawn["way"].n_unique() == 3  # mirrored about 0
    mirror = drawn.filter(pl.col("noise") == "1")["error"].to_list()
    assert mirror == drawn.filter(pl.col("noise") == "-1")["error"].to_list() == found.error[1, :, -1].tolist()
    found.save(tmp_path / "c.safetensors")
    again = result.load(tmp_path / "c.safetensors")
    assert again.table().equals(table) and again.notes == found.notes and np.array_equal(again.error, found.error)
    with pytest.raises(UserError, match="'four' was not measured"):
        found.valley("four")
    narrow = criticality(net, start, batched(), alphas=2, sigmas=[50.0, 90.0], draws=1, blocks="stem")
    assert np.isinf(narrow.mu[0]) and narrow.table()["alpha"][0] is None
    assert "stem (at least)" in str(narrow.chart().to_dict())


def test_the_network_is_as_found_also_after_an_exception(crossed, monkeypatch):
    net, start, _ = copy.deepcopy(crossed)
    net.train()
    held = [(t.data_ptr(), t._version, t.clone()) for t in net.state_dict(keep_vars=True).values()]
    chance = torch.get_rng_state()

    def unchanged():
        now = net.state_dict(keep_vars=True).values()
        return all(
            a == t.data_ptr() and v == t._version and torch.equal(c, t) for (a, v, c), t in zip(held, now, strict=True)
        ) and torch.equal(chance, torch.get_rng_state())

    criticality(net, start, batched(), alphas=2, sigmas=2, draws=1)
    assert unchanged() and net.training and net.norm.training
    calls = 0
    forward = nn.functional.linear

    def failing(*args):
        nonlocal calls
        calls += 1
        if calls > 40:
            raise RuntimeError("enough")
        return forward(*args)

    monkeypatch.setattr(nn.functional, "linear", failing)
    with pytest.raises(RuntimeError, match="enough"):
        criticality(net, start, batched(), search="grid", draws=2)
    assert unchanged() and net.training and all("forward" not in m.__dict__ for m in net.modules())


def test_bad_input_is_answered_in_one_sentence(crossed):
    net, start, _ = crossed
    lacking = {n: t for n, t in start.items() if n != "two.bias"}
    wrong = {**start, "two.weight": torch.zeros(3, 3)}
    lost = {**start, "one.bias": start["one.bias"] * float("nan")}
    for words, arguments, options in (
        (r"'stem\.weight' is .* in net and missing in start;", (made(plain), batched()), {}),
        (r"'two\.bias' is .* in net and missing in start;", (lacking, batched()), {}),
        (r"'two\.weight' is \[8, 8, 3, 3\] in net and \[3, 3\] in start;", (wrong, batched()), {}),
        (
            r"'one\.bias' holds NaN or infinite values in checkpoint 2 of path",
            (start, batched()),
            {"path": [start, lost]},
        ),
        (r"no block 'stemm'; did you mean 'stem'", (start, batched()), {"blocks": "stemm"}),
        ("none was asked for", (start, batched()), {"blocks": []}),
        ("needs the labels", (start, [data()[0]]), {}),
        ("the network tells 4 classes apart", (start, [(data()[0], data()[1] + 3)]), {}),
        ("draws: 0", (start, batched()), {"draws": 0}),
        ("alphas: 1 is too few", (start, batched()), {"alphas": 1}),
        ("alphas: points", (start, batched()), {"alphas": [0, 2]}),
        ("sigmas: 0 noise levels", (start, batched()), {"sigmas": 0}),
        ("sigmas: noise levels should", (start, batched()), {"sigmas": [0, 1]}),
        ("sigma_max: -1", (start, batched()), {"sigma_max": -1}),
        ("tolerance: 0 should", (start, batched()), {"tolerance": 0}),
        ("search: 'all'", (start, batched()), {"search": "all"}),
        ("batch_norm: 'none'", (start, batched()), {"batch_norm": "none"}),
        ("precision: 'half'", (start, batched()), {"precision": "half"}),
        ("there were none", (start, []), {}),
    ):
        with pytest.raises(UserError, match=words) as caught:
            criticality(net, *arguments, **options)
        assert "\n" not in str(caught.value)
    broken = copy.deepcopy(net)
    with torch.no_grad():
        broken.fc.bias[0] = float("nan")
    with pytest.raises(UserError, match=r"criticality: 'fc\.bias' holds NaN or infinite values in net;"):
        criticality(broken, start, batched())
    broken = copy.deepcopy(net)
    with torch.no_grad():
        broken.fc.weight.fill_(3e38)
    with pytest.raises(UserError, match="outputs for 96 of 96 samples are NaN"):
        criticality(broken, start, batched())
