"""The plane through three networks against plain evaluation at points placed by hand."""

import copy
import math

import numpy as np
import pytest
import torch
from probing.nets import images
from torch import nn
from toy.nets import tiny

import transferscope as ts
from transferscope.errors import UserError
from transferscope.models.norm import refresh_batch_norm
from transferscope.probes.walks.plane import plane


def small(seed, classes=3):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Flatten(), nn.Linear(12, 4), nn.ReLU(), nn.Linear(4, classes)).double()


def data(n=40, size=2):
    y = torch.randint(3, (n,), generator=torch.Generator().manual_seed(3))
    return images(n, size).double(), y


def vector(net):
    return nn.utils.parameters_to_vector(net.parameters()).detach()


def test_every_point_of_the_grid_is_the_network_at_its_coordinates(tmp_path):
    a, b, c = (small(s) for s in range(3))
    x, y = data()
    before = [vector(net).clone() for net in (a, b, c)]
    found = plane(a, b, c, [(x, y)], steps=4, margin=0.5)
    # An orthonormal basis from a QR decomposition, signs as in Gram-Schmidt.
    q, r = torch.linalg.qr(torch.stack([before[1] - before[0], before[2] - before[0]], 1))
    q, r = q * r.diag().sign(), r * r.diag().sign()[:, None]
    np.testing.assert_allclose(found.points, [[0, 0], [r[0, 0], 0], [r[0, 1], r[1, 1]]], rtol=1e-10, atol=1e-12)
    net = copy.deepcopy(a)
    for i, v in enumerate(found.y):
        for j, u in enumerate(found.x):
            nn.utils.vector_to_parameters(before[0] + u * q[:, 0] + v * q[:, 1], net.parameters())
            with torch.no_grad():
                z = net(x)
            assert found.metric[i, j] == pytest.approx(float((z.argmax(1) == y).double().mean()))
            assert found.loss[i, j] == pytest.approx(float(nn.functional.cross_entropy(z, y)), abs=1e-6)
    low, high = found.points[:, 1].min(), found.points[:, 1].max()
    assert found.y[0] == pytest.approx(low - 0.5 * (high - low)) and found.y[-1] == pytest.approx(
        high + 0.5 * (high - low)
    )
    for k, other in enumerate((a, b, c)):
        with torch.no_grad():
            assert found.own_loss[k] == pytest.approx(float(nn.functional.cross_entropy(other(x), y)), abs=1e-6)
        assert torch.equal(vector(other), before[k])
    rows = found.table()
    assert rows.height == 16 and rows["y"][0] == found.y[-1] and rows["metric"][0] == found.metric[-1, 0]
    text = str(found.chart().to_dict())
    assert "(a" in text and "b)" in text and "c)" in text
    found.save(tmp_path / "p.safetensors")
    assert ts.load(tmp_path / "p.safetensors").table().equals(rows)


def test_points_without_margin_are_the_networks_themselves():
    a, b = small(0), small(1)
    c = copy.deepcopy(a)
    gap = vector(b) - vector(a)
    off = torch.randn(len(gap), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    off -= gap * (off @ gap) / (gap @ gap)
    nn.utils.vector_to_parameters(vector(a) + off, c.parameters())
    x, y = data()
    found = plane(a, b, c, [(x, y)], steps=2, margin=0)
    np.testing.assert_allclose(found.points[2], [0, float(off.norm())], atol=1e-9)
    np.testing.assert_allclose(found.loss[[0, 0, 1], [0, 1, 0]], found.own_loss, atol=1e-6)
    np.testing.assert_array_equal(found.at_loss, found.own_loss)


def test_batch_norm_is_refreshed_far_outside_and_refused_as_given():
    torch.manual_seed(0)
    nets = [tiny(3) for _ in range(3)]
    for k, net in enumerate(nets):
        net[1].running_var.fill_(0.1 + 0.5 * k)
    y = data()[1]
    x = images(40, 8)
    found = plane(*nets, [(x, y)], steps=3, margin=2.0)
    assert np.isfinite(found.loss).all() and found.batch_norm == "refresh" and found.images == 40
    with pytest.raises(UserError, match="a variance of batch norm '1' is negative"):
        plane(*nets, [(x, y)], steps=3, margin=2.0, batch_norm="as given")
    assert math.isclose(float(nets[2][1].running_var[0]), 1.1, rel_tol=1e-6)
    for k, net in enumerate(nets):  # the corners on the grid's basis, and as they came
        fresh = copy.deepcopy(net)
        refresh_batch_norm(fresh, [x])
        with torch.no_grad():
            now, own = (float(nn.functional.cross_entropy(one.eval()(x), y)) for one in (fresh, net))
        assert (found.at_loss[k], found.own_loss[k]) == pytest.approx((now, own), abs=1e-5) and abs(now - own) > 1e-4


def test_what_spans_no_plane_is_refused():
    a, b = small(0), small(1)
    x, y = data()
    middle = {n: 0.3 * t + 0.7 * b.state_dict()[n] for n, t in a.state_dict().items()}
    with pytest.raises(UserError, match="lie on one line"):
        plane(a, b, middle, [(x, y)])
    with pytest.raises(UserError, match="a and b have the same weights"):
        plane(a, a, b, [(x, y)])
    with pytest.raises(UserError, match="a and c have the same weights"):
        plane(a, b, a, [(x, y)])
    with pytest.raises(UserError, match="steps must be at least 2"):
        plane(a, b, small(2), [(x, y)], steps=1)
    with pytest.raises(UserError, match=r"'\w\.weight' is \[\d, 4\] in a and \[4, 4\] in c"):
        plane(a, b, small(2, 4), [(x, y)])
    with pytest.raises(UserError, match="one data set"):
        plane(a, b, small(2), {"one": [(x, y)], "two": [(x, y)]})
