"""Weights files in a notebook: what is read for a network, and probes that take paths in the place of networks."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import transferscope as ts
from transferscope.errors import UserError

X, Y = torch.randn(8, 3, 6, 6, generator=torch.Generator().manual_seed(0)), torch.arange(8) % 3


def network(seed: int, classes: int = 3) -> nn.Module:
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(64, classes))
    net.train()(X + seed)
    return net


def saved(net: nn.Module, path: Path) -> Path:
    torch.save({"state_dict": {f"model.{n}": t for n, t in net.state_dict().items()}, "epoch": 1}, path)
    return path


def test_what_is_returned_answers_as_the_network_that_was_saved(tmp_path: Path) -> None:
    net, like = network(1), network(2)
    before = {name: tensor.clone() for name, tensor in like.state_dict().items()}
    content = {"state_dict": {f"model.{n}": t for n, t in net.state_dict().items()}}
    path = saved(net, tmp_path / "a.ckpt")
    for source in (path, str(path), content, content["state_dict"], net.state_dict()):
        state, report = ts.read_weights(source, like=like)
        assert all(torch.equal(like.state_dict()[name], tensor) for name, tensor in before.items())
        twin = network(3)
        twin.load_state_dict(state)
        torch.testing.assert_close(twin.eval()(X), net.eval()(X), atol=0, rtol=0)
        assert report.loaded.share == 1 and report.head
    _, report = ts.read_weights(path, like=like)
    assert repr(report).splitlines() == [
        f"{path}: 7 of 7 body tensors (100.0% of its parameters) matched under 'state_dict.model'",
        "the head is that of the source",
    ]


def test_another_head_stays_out_and_is_said(tmp_path: Path) -> None:
    path = saved(network(1, 5), tmp_path / "a.ckpt")
    state, report = ts.read_weights(path, like=network(2))
    assert "3.weight" not in state and not report.head and "it is left out" in repr(report)
    far = ts.distance(path, network(2))
    assert far.body > 0 and far.head != far.head
    with pytest.raises(UserError, match=r"line_barrier: '3\.weight' is"):
        ts.line_barrier(path, network(2), [(X, Y)])


def test_probes_take_paths_as_they_take_networks(tmp_path: Path) -> None:
    a, b = network(1), network(2)
    one, two = saved(a, tmp_path / "a.ckpt"), str(saved(b, tmp_path / "b.pth"))
    batches = [(X, Y)]
    assert ts.distance(one, two, like=b).table().equals(ts.distance(a, b).table())
    assert ts.spectrum(one, two, like=b).table().equals(ts.spectrum(a, b).table())
    assert ts.distance(one, b).body == ts.distance(a, b).body
    assert ts.line_barrier(one, two, batches, like=b).table().equals(ts.line_barrier(a, b, batches).table())
    mine, theirs = ts.average([one, two], batches, like=b), ts.average([a, b], batches)
    assert mine.table().equals(theirs.table())


def test_what_is_no_weights_is_one_sentence(tmp_path: Path) -> None:
    one = saved(network(1), tmp_path / "a.ckpt")

    def says(*given: object, like: nn.Module | None = None) -> str:
        with pytest.raises(UserError) as refused:
            ts.distance(*given, like=like)  # type: ignore[arg-type]
        return str(refused.value)

    assert says(one, one) == "distance: a and b are weights files; give like=NETWORK, a network of their form."
    assert "distance: a: no file" in says(tmp_path / "absent.pth", network(1))
    assert "distance: b is a list, not a network" in says(one, [1], like=network(1))
    assert "of this network under '#ema', it is under #" in says(f"{one}#ema", network(1))
    other = nn.Sequential(nn.Linear(3, 7), nn.Linear(7, 3))
    assert "less than the 90% asked for" in says(one, other)
    assert "holds no tensors by name" in says({"epoch": 1}, network(1))
    with pytest.raises(UserError, match="read_weights: like is a dict"):
        ts.read_weights(one, like={})  # type: ignore[arg-type]
    with pytest.raises(UserError, match="read_weights: give a path or a state dict, not None"):
        ts.read_weights(None, like=network(1))  # type: ignore[arg-type]
    with pytest.raises(UserError, match="average"):
        ts.average(str(one), like=network(1))


def test_nothing_is_filled_silently(tmp_path: Path) -> None:
    state: dict[str, Tensor] = {n: t for n, t in network(1).state_dict().items() if n not in ("1.weight", "1.bias")}
    torch.save(state, tmp_path / "a.pth")
    read, report = ts.read_weights(tmp_path / "a.pth", like=network(2))
    assert "1.weight" not in read and "not filled by the weights" in repr(report)
    with pytest.raises(UserError, match=r"'1\.weight' is .* missing in a"):
        ts.distance(tmp_path / "a.pth", network(2))
