"""Named tensors: files of every kind, loading with proof, blending, distance, fingerprints."""

import argparse
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from filling import load_into, save_state
from torch import Tensor, nn

from transferscope.errors import UserError
from transferscope.models.checkpoint import read_state
from transferscope.models.weights import (
    belongs,
    blend,
    distance,
    fingerprint_state,
)

HEAD = ("fc",)


class Small(nn.Module):
    """A convolution, a norm and a head."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 3)
        self.bn1 = nn.BatchNorm2d(width)
        self.fc = nn.Linear(width, 5)


def state_of(seed: int, **kwargs: Any) -> dict[str, Tensor]:
    torch.manual_seed(seed)
    return Small(**kwargs).state_dict()


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[n], b[n]) and a[n].dtype == b[n].dtype for n in a)


@pytest.mark.parametrize("nest", [None, "state_dict", "model", "model_ema", "model/state_dict"])
@pytest.mark.parametrize("prefix", ["", "module.", "module.model.", "_orig_mod.module.", "backbone."])
def test_every_nesting_and_prefix_loads_the_same_body(tmp_path: Path, nest: str | None, prefix: str) -> None:
    state = state_of(1)
    saved: Any = {prefix + name: tensor for name, tensor in state.items()}
    for key in reversed(nest.split("/") if nest else []):
        saved = {key: saved, "epoch": 3, "args": argparse.Namespace(lr=0.1)}
    torch.save(saved, tmp_path / "w.pth")
    net = Small()
    head_before = net.fc.weight.detach().clone()
    loaded = load_into(net, read_state(tmp_path / "w.pth"), head=HEAD)
    assert loaded.share == 1 and loaded.tensors_matched == loaded.tensors_total == 7
    assert (loaded.missing, loaded.unexpected, loaded.mismatched) == ((), (), ())
    assert all(torch.equal(net.state_dict()[n], state[n]) for n in state if not n.startswith("fc"))
    assert torch.equal(net.fc.weight, head_before) and not torch.equal(head_before, state["fc.weight"])


def test_a_prefix_of_the_networks_own_names_stays() -> None:
    net = nn.ModuleDict({"backbone": Small(), "fc": nn.Linear(8, 2)})
    state = {name: tensor + 1 for name, tensor in net.state_dict().items()}
    assert load_into(net, state, head=HEAD).share == 1
    assert torch.equal(net["backbone"].conv1.weight, state["backbone.conv1.weight"])  # type: ignore[union-attr]


def test_what_did_not_match_is_counted_and_named() -> None:
    net, state = Small(), state_of(1)
    state["bn1.bias"] = torch.zeros(9)
    del state["bn1.weight"]
    state["other.weight"] = torch.zeros(2)
    loaded = load_into(net, state, head=HEAD)
    body = 3 * 8 * 9 + 8 + 8 + 8
    assert (loaded.parameters_matched, loaded.parameters_total) == (body - 16, body)
    assert loaded.share == pytest.approx((body - 16) / body)
    assert (loaded.missing, loaded.unexpected, loaded.mismatched) == (("bn1.weight",), ("other.weight",), ("bn1.bias",))


def test_another_architecture_is_refused_and_nothing_is_copied() -> None:
    net = Small()
    before = fingerprint_state(net.state_dict())
    with pytest.raises(
        UserError, match=r"only 0\.0%.*'conv1\.weight' has shape \[16, 3, 3, 3\].*pretrained\.min_share"
    ):
        load_into(net, state_of(1, width=16), head=HEAD)
    assert fingerprint_state(net.state_dict()) == before
    assert load_into(net, state_of(1, width=16), head=HEAD, min_share=0.0, allow=["*"]).share == 0


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_refused(bad: float) -> None:
    state = state_of(1)
    state["bn1.running_var"][0] = bad
    with pytest.raises(UserError, match=r"'bn1\.running_var' holds NaN or infinite"):
        load_into(Small(), state, head=HEAD)


class _RunsCode:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (os.environ["TS_MARK"],)


def test_a_pickle_that_would_run_code_is_refused_unrun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TS_MARK", str(tmp_path / "ran"))
    torch.save({"state_dict": state_of(1), "extra": _RunsCode()}, tmp_path / "evil.pth")
    with pytest.raises(UserError, match=r"could run code.*safetensors"):
        read_state(tmp_path / "evil.pth")
    torch.save(Small(), tmp_path / "whole.pth")
    with pytest.raises(UserError, match="could run code"):
        read_state(tmp_path / "whole.pth")
    assert not (tmp_path / "ran").exists()


def test_damaged_files_get_one_sentence(tmp_path: Path) -> None:
    torch.save(state_of(1), tmp_path / "whole.pth")
    whole = (tmp_path / "whole.pth").read_bytes()
    for name, content in [
        ("empty.pth", b""),
        ("cut.pth", whole[: len(whole) // 2]),
        ("text.pth", b"<html>404</html>"),
        ("text.safetensors", b"<html>404 not found</html>"),
    ]:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match=name):
            read_state(tmp_path / name)
    torch.save({"epoch": 3}, tmp_path / "none.pth")
    with pytest.raises(UserError, match="no tensors"):
        read_state(tmp_path / "none.pth")
    with pytest.raises(UserError, match="no file"):
        read_state(tmp_path / "absent.pth")


def test_files_are_read_exactly(tmp_path: Path) -> None:
    state = state_of(1)
    state["tied"] = state["fc.weight"]
    state["half"] = state["conv1.weight"].to(torch.bfloat16).transpose(0, 1)
    save_state(state, tmp_path / "a.safetensors")
    assert same(dict(sorted(read_state(tmp_path / "a.safetensors").items())), dict(sorted(state.items())))


def test_blend_ends_are_exact_and_the_middle_is_right() -> None:
    a, b = state_of(1), state_of(2)
    a["bn1.bias"][0] = -0.0
    b["bn1.num_batches_tracked"] += 5
    assert same(blend(a, b, 0), a) and same(blend(a, b, 1), b)
    assert torch.signbit(blend(a, b, 0)["bn1.bias"][0])
    for alpha in (-0.5, 0.3, 1.7):
        mixed = blend(a, b, alpha)
        slow = (1 - alpha) * a["conv1.weight"].double() + alpha * b["conv1.weight"].double()
        assert torch.allclose(mixed["conv1.weight"].double(), slow, atol=1e-6)
        assert mixed["bn1.num_batches_tracked"] == 0
    mixed = blend(a, b, 0)
    mixed["conv1.weight"].zero_()
    assert a["conv1.weight"].abs().sum() > 0  # new memory
    with pytest.raises(UserError, match=r"'conv1\.weight'"):
        blend(a, state_of(2, width=9), 0.5)
    with pytest.raises(UserError, match="only one"):
        blend(a, {"conv1.weight": a["conv1.weight"]}, 0.5)


def test_distance_is_a_metric_over_the_given_names() -> None:
    a, b, c = (state_of(seed) for seed in (1, 2, 3))
    names = ("conv1.weight", "fc.weight")
    slow = sum(((a[n].double() - b[n].double()) ** 2).sum().item() for n in names) ** 0.5
    assert distance(a, b, names) == pytest.approx(slow, rel=1e-12)
    assert distance(a, a, names) == 0 and distance(a, b, names) == distance(b, a, names)
    assert distance(a, c, names) <= distance(a, b, names) + distance(b, c, names)
    big = {"w": torch.full((10**6,), 1e4)}  # float32 accumulation would be off in the 4th digit
    assert distance(big, {"w": big["w"] + 1}, ["w"]) == pytest.approx(1000.0, rel=1e-12)
    with pytest.raises(UserError, match="'nope'"):
        distance(a, b, ["nope"])


def test_a_fingerprint_sees_names_values_shapes_and_dtypes_but_not_order() -> None:
    state = {"a": torch.arange(6.0), "b": torch.zeros(2, dtype=torch.int64), "c": torch.tensor(3.0)}
    base = fingerprint_state(state)
    assert fingerprint_state(dict(reversed(state.items()))) == base
    changed = [
        {**state, "a": torch.arange(6.0).view(2, 3)},
        {**state, "a": torch.arange(6.0) + 1e-6},
        {**state, "b": torch.zeros(4, dtype=torch.int32)},
        {"x": state["a"], "b": state["b"], "c": state["c"]},
    ]
    assert len({base, *(fingerprint_state(s) for s in changed)}) == 5
    assert (
        base == "c88e9b1dc1549d033690aed8ee335a72"
    )  # in the key of every run from a file: a change here retrains everything


def test_prefixes_match_whole_names_only() -> None:
    assert belongs("layer1.1.conv.weight", ["layer1.1"]) and belongs("cls_token", ["cls_token"])
    assert not belongs("layer1.10.conv.weight", ["layer1.1"])
