"""Layer-wise barriers against curves of blended copies in float64, and their ends."""

import copy

import numpy as np
import pytest
import torch
from probing.blockwise import labelled, plain, residual, swapped

import transferscope as ts
from transferscope.errors import UserError
from transferscope.measures.barrier import entezari, frankle
from transferscope.models.blocks import blocks, parameters_of
from transferscope.models.norm import refresh_batch_norm
from transferscope.probes.blocks.layerwise import layerwise_barrier


def curve(a, b, names, alphas, data, statistics=None):
    """(error, loss) at every alpha, statistics blended with the weights or those of one pass of `statistics`."""
    points = []
    for alpha in alphas:
        mine, other = a.state_dict(), b.state_dict()
        mixed = {
            n: torch.lerp(mine[n].double(), other[n].double(), alpha) if mine[n].is_floating_point() else mine[n]
            for n in names
        }
        net = swapped(a, mixed, names)
        if statistics is not None:
            refresh_batch_norm(net, [statistics.double()])
        points.append(plain(net, data))
    accuracy, loss = np.array(points).T
    return 1 - accuracy, loss


@pytest.mark.parametrize("batch_norm", ["refresh", "as found"])
def test_curves_and_heights_are_those_of_blended_copies(batch_norm):
    a, b, data = residual(1), residual(2), labelled(30)
    x = torch.cat([x for x, _ in labelled(40, seed=7)]) if batch_norm == "refresh" else None
    found = layerwise_barrier(
        a, b, data, alphas=5, batch_norm=batch_norm, draws=200, statistics=None if x is None else [x]
    )
    assert found.batch_norm == (
        "as found" if x is None else "re-estimated everywhere, on 40 images given as statistics"
    )
    for place, net in enumerate((a, b)):
        own = plain(copy.deepcopy(net).double().eval(), data)
        assert found.own_error[0, place] == pytest.approx(1 - own[0]), "with the statistics it came with"
        assert found.own_loss[0, place] == pytest.approx(own[1], abs=1e-5)
    cut = blocks(a)
    assert found.blocks == (*(block.name for block in cut), "(all)")
    ends = {}
    for i, prefixes in enumerate([*cut, None]):
        names = list(a.state_dict()) if prefixes is None else parameters_of(prefixes, a.state_dict())
        error, loss = curve(a, b, names, found.alphas, data, x)
        np.testing.assert_allclose(found.error[0, i], error, atol=1e-9)
        np.testing.assert_allclose(found.loss[0, i], loss, atol=1e-5)
        for k, largest in enumerate((frankle(found.alphas, loss), entezari(found.alphas, loss))):
            assert largest - 0.1 < found.loss_height[0, i, k, 0] <= largest + 1e-5, "chosen on other images"
        ends[i] = loss
    chord = (1 - found.alphas) * ends[len(cut)][0] + found.alphas * ends[len(cut)][-1]
    for i, loss in ends.items():
        largest = (loss - chord).max()
        assert largest - 0.1 < found.loss_height[0, i, 2, 0] <= largest + 1e-5
    low, high = found.loss_height[0, :, :, 1], found.loss_height[0, :, :, 2]
    assert (low <= high).all() and (found.loss_height[0, :, 0, 0] <= high[:, 0] + 1e-9).all()
    assert found.table().height == 2 * len(found.blocks) and found.chart().to_dict()
    assert found.curves().height == 5 * len(found.blocks)


def test_no_barrier_between_a_network_and_itself(tmp_path):
    net = residual(1)
    found = layerwise_barrier(net, net.state_dict(), {"train": labelled(), "test": labelled(20, seed=5)}, alphas=3)
    assert (
        found.batch_norm.startswith("re-estimated everywhere, on")
        and found.data == ("train", "test")
        and not found.distance.any()
    )
    np.testing.assert_allclose(found.loss_height[..., 0], 0, atol=1e-6)
    found.save(tmp_path / "l.safetensors")
    assert ts.load(tmp_path / "l.safetensors").table().equals(found.table())


def test_chosen_blocks_overflow_and_bad_input():
    a, b, data = residual(1), residual(2), labelled()
    with torch.no_grad():
        b[3].conv2.weight.fill_(3e38)
    found = layerwise_barrier(a, b, data, alphas=[0, 1], blocks=["3", "4"], batch_norm="as found", draws=50)
    assert found.blocks == ("3", "4", "(all)") and np.isnan(found.loss_height[0, [0, 2]]).all()
    assert np.isfinite(found.loss_height[0, 1, :2]).all() and found.table()["frankle"].null_count() == 4
    with pytest.raises(UserError, match="alphas: give a count"):
        layerwise_barrier(a, a, data, alphas=[0.1, 1])
    with pytest.raises(UserError, match=r"layerwise_barrier: '0\.weight' is .* in a and .* in b;"):
        layerwise_barrier(a, residual(2, width=5), data)
