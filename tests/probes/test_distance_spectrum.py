"""Distance and spectrum against plain float64; neighbours and Procrustes against their definitions."""

import copy

import numpy as np
import pytest
import torch
from probing.nets import batched, images, made
from probing.reference import features
from torch import nn

import transferscope as ts
from transferscope.errors import UserError

BODY = (
    "conv1.weight",
    "bn1.weight",
    "bn1.bias",
    "conv2.weight",
    "conv2.bias",
    "unused.weight",
    "unused.bias",
    "attention.in_proj_weight",
    "attention.in_proj_bias",
    "attention.out_proj.weight",
    "attention.out_proj.bias",
)


def vector(net, names):
    state = net.state_dict()
    return torch.cat([state[name].double().flatten() for name in names])


def test_distance_is_that_of_the_parameters_without_head_and_buffers():
    a, b = made(seed=1), made(seed=2)
    b.bn1.running_mean += 5
    b.bn1.num_batches_tracked += 9
    found = ts.distance(a, b)
    gap = vector(a, BODY) - vector(b, BODY)
    assert found.body == pytest.approx(float(gap.norm()), rel=1e-12)
    assert found.body_relative == pytest.approx(float(gap.norm() / vector(b, BODY).norm()), rel=1e-12)
    head = ("fc.weight", "fc.bias")
    assert found.head == pytest.approx(float((vector(a, head) - vector(b, head)).norm()), rel=1e-12)
    assert found.head_names == ("fc",) and "fc" not in found.blocks
    assert np.sqrt((found.l2**2).sum()) == pytest.approx(found.body)
    conv1 = ("conv1.weight", "bn1.weight", "bn1.bias")
    assert found.blocks[0] == "conv1"
    assert found.l2[0] == pytest.approx(float((vector(a, conv1) - vector(b, conv1)).norm()), rel=1e-12)
    assert found.relative[0] == pytest.approx(found.l2[0] / float(vector(b, conv1).norm()), rel=1e-12)
    assert found.rms[0] == pytest.approx(found.l2[0] / len(vector(b, conv1)) ** 0.5, rel=1e-12)
    assert found.table()["rms"][0] == found.rms[0] and found.table()["rms"][-1] == found.body_rms
    assert found.size.sum() == sum(p.numel() for n, p in a.named_parameters() if n in BODY)
    assert found.table().tail(2)["block"].to_list() == ["(head)", "(body)"] and found.chart().to_dict()


def test_distance_is_a_metric():
    nets = [made(seed=s) for s in range(3)]
    d = [[ts.distance(a, b).body for b in nets] for a in nets]
    assert [d[i][i] for i in range(3)] == [0, 0, 0] and d[0][1] == d[1][0]
    assert d[0][2] <= d[0][1] + d[1][2]


def test_distance_with_another_head_another_network_or_no_head(tmp_path):
    a, b = made(seed=1), made(seed=2, classes=7)
    found = ts.distance(a, b)
    assert np.isnan(found.head) and np.isfinite(found.body)
    assert found.table().filter(found.table()["block"] == "(head)")["l2"][0] is None
    whole = ts.distance(a, made(seed=2), head=())
    assert whole.body > found.body and "fc" in whole.blocks
    with pytest.raises(UserError, match=r"distance: 'conv1\.weight' is .* in a and .* in b;"):
        ts.distance(a, made(seed=2, width=4))
    found.save(tmp_path / "d.safetensors")
    assert ts.load(tmp_path / "d.safetensors").table().equals(found.table())


def test_tied_weights_count_once():
    net = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False), nn.Linear(3, 2))
    net[1].weight = net[0].weight
    other = copy.deepcopy(net)
    with torch.no_grad():
        other[0].weight += 1
    assert ts.distance(net, other).body == pytest.approx(3)


def test_spectrum_is_that_of_numpy_svd():
    a, b = made(seed=1, width=12), made(seed=2, width=12)
    found = ts.spectrum(a, b, k=3)
    assert found.weights == (
        "conv1.weight",
        "conv2.weight",
        "unused.weight",
        "attention.in_proj_weight",
        "attention.out_proj.weight",
        "fc.weight",
    )
    for i, name in enumerate(found.weights):
        m, l = (net.state_dict()[name].double().flatten(1).numpy() for net in (a, b))  # noqa: E741
        _, s, v = np.linalg.svd(m)
        np.testing.assert_allclose(found.values_a[name], s, rtol=1e-6, atol=1e-7 * s[0])
        p = s / s.sum()
        assert found.rank_a[i] == pytest.approx(np.exp(-(p * np.log(p)).sum()), rel=1e-6)
        k = found.k[i]
        assert k == min(3, max(1, min(m.shape) // 4))
        shared = v[:k] @ np.linalg.svd(l)[2][:k].T
        assert found.overlap[i] == pytest.approx((shared**2).sum() / k, abs=1e-8)
        assert found.expected[i] == k / m.shape[1]
    assert found.chart().to_dict() and found.table()["block"][0] == "conv1"


def test_equal_networks_share_all_and_random_ones_what_is_expected():
    a = nn.Sequential(nn.Linear(200, 100), nn.Linear(100, 60))
    with torch.no_grad():
        for layer in a:
            nn.init.normal_(layer.weight)
    b = copy.deepcopy(a)
    np.testing.assert_allclose(ts.spectrum(a, b).overlap, 1, atol=1e-9)
    for layer in b:
        nn.init.normal_(layer.weight)
    excess = ts.spectrum(a, b).table()["excess"].to_numpy()
    assert np.abs(excess).max() < 0.05


def test_spectrum_of_the_convolution_operator(tmp_path):
    conv = nn.Conv2d(2, 3, 3, padding=1, padding_mode="circular", bias=False)
    net = nn.Sequential(conv, nn.Flatten(), nn.Linear(48, 2))
    found = ts.spectrum(net, net, operator=torch.zeros(1, 2, 4, 4))
    with torch.no_grad():
        operator = net[0](torch.eye(32).view(32, 2, 4, 4)).flatten(1).double().numpy()
    np.testing.assert_allclose(found.values_a["0.weight"], np.linalg.svd(operator)[1], atol=1e-6)
    assert found.operator and len(found.values_a["2.weight"]) == 2
    found.save(tmp_path / "s.safetensors")
    again = ts.load(tmp_path / "s.safetensors")
    assert again.table().equals(found.table()) and list(again.values_a) == list(found.values_a)


def test_spectrum_of_strangers_is_refused():
    with pytest.raises(UserError, match="share no weight matrix"):
        ts.spectrum(nn.Sequential(nn.Linear(2, 2)), nn.Sequential(nn.Linear(3, 3)))
    with pytest.raises(UserError, match="k must be at least 1"):
        ts.spectrum(made(), made(), k=0)


def test_neighbours_are_those_of_a_plain_vote():
    y = torch.arange(30) % 3
    x = images(30) + 2 * y[:, None, None, None]
    net = made(seed=1)
    data = list(zip(x.split(8), y.split(8), strict=True))
    found = ts.neighbours(net, data, layers=["conv1", "fc"], k=1)
    for name, accuracy in zip(found.layers, found.accuracy, strict=True):
        rows = features(net, x, (name,))[0].double()
        rows = rows.mean((2, 3)) if rows.ndim == 4 else rows
        distance = torch.cdist(rows, rows).fill_diagonal_(torch.inf)
        assert accuracy == pytest.approx(float((y[distance.argmin(1)] == y).double().mean()))
    again = ts.neighbours(net, data, layers=["conv1", "fc"], k=1, memory=1)
    np.testing.assert_array_equal(found.accuracy, again.accuracy)
    assert found.samples == 30 and found.chart().to_dict() and found.table().height == 2
    with pytest.raises(UserError, match="must bring class labels"):
        ts.neighbours(net, batched(x))
    with pytest.raises(UserError, match="cannot vote"):
        ts.neighbours(net, data, k=30)


def test_procrustes_is_the_definition(tmp_path):
    a, b, x = made(seed=1), made(seed=2), images(30)
    found = ts.procrustes(a, b, batched(x), layers=["conv2", "fc"], pool=None)
    for name, distance in zip(found.layers, found.distance, strict=True):
        rows = [features(net, x, (name,))[0].double().flatten(1) for net in (a, b)]
        rows = [r - r.mean(0) for r in rows]
        rows = [r / r.norm() for r in rows]
        assert distance == pytest.approx(2 - 2 * float(torch.linalg.svdvals(rows[0].T @ rows[1]).sum()), abs=1e-5)
    np.testing.assert_allclose(ts.procrustes(a, a, batched(x)).distance, 0, atol=1e-6)
    again = ts.procrustes(a, b, batched(x), layers=["conv2", "fc"], pool=None, memory=1)
    np.testing.assert_allclose(again.distance, found.distance)
    found.save(tmp_path / "p.safetensors")
    assert ts.load(tmp_path / "p.safetensors").table().equals(found.table()) and found.chart().to_dict()
    with pytest.raises(UserError, match="no layer of the same name"):
        ts.procrustes(a, nn.Sequential(nn.Flatten(), nn.Linear(192, 2)), batched(x))


def test_a_network_of_timm_without_a_classifier_has_no_head():
    import timm

    a, b = (timm.create_model("vit_tiny_patch16_224", img_size=32, depth=1, num_classes=n) for n in (0, 5))
    found, back = ts.distance(a, b), ts.distance(b, a)
    assert found.head_names == () and np.isnan(found.head)
    assert back.head_names == ("head",) and found.size.sum() == sum(p.numel() for p in a.parameters())
    assert found.body == pytest.approx(back.body, rel=1e-12)


def test_spectrum_of_a_diverged_network_is_refused():
    a, b = made(seed=1), made(seed=2)
    with torch.no_grad():
        b.conv2.weight[0, 0] = float("nan")
    with pytest.raises(UserError, match=r"'conv2\.weight' holds NaN or infinite values"):
        ts.spectrum(a, b)


WRAPS = {
    "weight norm": nn.utils.weight_norm,
    "spectral norm": nn.utils.spectral_norm,
    "weight norm, parametrised": nn.utils.parametrizations.weight_norm,
    "spectral norm, parametrised": nn.utils.parametrizations.spectral_norm,
    "orthogonal, parametrised": nn.utils.parametrizations.orthogonal,
    "pruned": lambda module: nn.utils.prune.l1_unstructured(module, "weight", 0.5),
}


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
@pytest.mark.parametrize("kind", WRAPS)
def test_weights_made_of_others_are_measured_as_the_network_uses_them(kind):
    def wrapped(seed):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.Flatten(), nn.Linear(8, 4))
            for place in (2, 4):
                WRAPS[kind](net[place])
            with torch.no_grad():
                for parameter in net.parameters():
                    parameter.mul_(1.7)
            return net.eval()

    a, b = wrapped(0), wrapped(1)
    used = []
    for net in (a, b):
        net(torch.randn(2, 3, 5, 5))  # hooks put the weights in place
        used.append([net[place].weight.detach().double().flatten(1) for place in (2, 4)])
    found = ts.spectrum(a, b)
    assert found.weights == ("0.weight", "2.weight", "4.weight") and found.blocks == ("0", "2", "4")
    for name, mine, theirs in zip(found.weights[1:], *used, strict=True):
        np.testing.assert_allclose(found.values_a[name], np.linalg.svd(mine.numpy(), compute_uv=False), atol=1e-6)
        np.testing.assert_allclose(found.values_b[name], np.linalg.svd(theirs.numpy(), compute_uv=False), atol=1e-6)
    far = ts.distance(a, b)
    both = [(used[0][0] - used[1][0]).square().sum(), (a[2].bias - b[2].bias).double().square().sum()]
    assert far.l2[1] == pytest.approx(float(sum(both).detach().sqrt()), rel=1e-5) and far.size[1] == 8 * 8 * 9 + 8


def test_weights_that_are_not_finite_have_no_distance():
    a, b = made(seed=1), made(seed=2)
    with torch.no_grad():
        b.conv2.weight[0, 0, 0, 0] = torch.inf
    for ask in (ts.distance, ts.spectrum):
        for nets in ((a, b), (b, a)):
            with pytest.raises(UserError, match=r"'conv2\.weight' holds NaN or infinite values"):
                ask(*nets)
