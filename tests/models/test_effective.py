"""Tensors stored otherwise than networks use them: right values and a word about it, or one sentence."""

import pytest
import torch
from filling import load_into
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune, spectral_norm, weight_norm

from transferscope.errors import UserError
from transferscope.models.checkpoint import read_state
from transferscope.models.load_report import Loaded


def net(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 6, 3), nn.ConvTranspose2d(6, 5, 3), nn.Linear(5, 4), nn.Linear(4, 3))


def loaded(state: dict[str, Tensor]) -> tuple[nn.Sequential, Loaded]:
    into = net(9)
    return into, load_into(into, state, head=("3",))


def pruned(module: nn.Module) -> None:
    prune.random_unstructured(module, "weight", 0.5)  # type: ignore[no-untyped-call]


WAYS = {
    "weight_norm": (weight_norm, "weight norm"),
    "spectral_norm": (spectral_norm, "spectral norm"),
    "prune": (pruned, "values times mask"),
    "parametrizations.weight_norm": (parametrizations.weight_norm, "weight norm"),
    "parametrizations.spectral_norm": (parametrizations.spectral_norm, "spectral norm"),
}


@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated")
@pytest.mark.parametrize("way", WAYS)
def test_a_weight_kept_in_parts_loads_as_the_network_used_it(way: str) -> None:
    apply, said = WAYS[way]
    source = net()
    for layer in source[:3]:
        apply(layer)
        with torch.no_grad():
            for parameter in layer.parameters():
                parameter.mul_(1.5)
    source.eval()
    source[2](torch.ones(1, 5)), source[0](torch.ones(1, 3, 4, 4)), source[1](torch.ones(1, 6, 4, 4))
    state = source.state_dict()
    assert "0.weight" not in state
    into, found = loaded(state)
    assert found.share == 1 and said in found.sentences()[0] and "3 tensors" in found.sentences()[0]
    for mine, theirs in zip(into[:3], source[:3], strict=True):
        torch.testing.assert_close(mine.weight, theirs.weight.detach(), rtol=1e-6, atol=1e-6)


def test_a_network_with_parts_of_its_own_gets_them_as_they_are() -> None:
    source, into = net(), net(9)
    for each in (source, into):
        parametrizations.weight_norm(each[0])
    found = load_into(into, source.state_dict(), head=("3",))
    assert found.unfilled == () and found.sentences() == []
    assert torch.equal(into[0].parametrizations.weight.original1, source[0].parametrizations.weight.original1)


def spread(kind: str, tensor: Tensor) -> Tensor:
    match kind:
        case "quantised":
            return torch.quantize_per_tensor(tensor, 1 / 64, 0, torch.qint8)
        case "sparse":
            return tensor.to_sparse()
        case "sparse rows":
            return tensor.to_sparse_csr() if tensor.ndim == 2 else tensor.to_sparse()
    return tensor.to(getattr(torch, kind))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("kind", "word", "error"),
    [
        ("quantised", "quantised", 1 / 128),
        ("sparse", "sparse", 0),
        ("sparse rows", "sparse", 0),
        ("float16", "float16", 1e-3),
        ("bfloat16", "bfloat16", 1e-2),
        ("float64", "float64", 0),
        ("float8_e4m3fn", "float8_e4m3fn", 0.1),
    ],
)
def test_other_storage_is_converted_and_said(tmp_path, kind: str, word: str, error: float) -> None:
    state = net().state_dict()
    torch.save({n: spread(kind, t) if t.ndim > 1 else t for n, t in state.items()}, tmp_path / "w.pth")
    into, found = loaded(read_state(tmp_path / "w.pth"))
    assert found.share == 1 and f"3 tensors stored as {word}" in found.sentences()[0]
    for name, tensor in into.state_dict().items():
        if not name.startswith("3"):
            assert tensor.dtype == torch.float32 and (tensor - state[name]).abs().max() <= error


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda t: t.to(torch.complex64), "'0.weight' holds complex numbers"),
        (lambda t: (t * 100).to(torch.int8), r"'0.weight' holds whole numbers \(int8\).*before quantisation"),
        (lambda t: t > 0, r"'0.weight' holds whole numbers \(bool\)"),
        (lambda t: t / 0, "'0.weight' holds NaN or infinite"),
        (lambda t: t.double() * 1e300, "'0.weight' holds NaN or infinite"),  # finite until it is float32
    ],
)
def test_what_is_no_weight_is_refused_by_name(change, says: str) -> None:
    state = net().state_dict()
    with pytest.raises(UserError, match=says):
        loaded(state | {"0.weight": change(state["0.weight"])})


def test_negative_variances_are_refused() -> None:
    into = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 2))
    state = {name: tensor + 1 for name, tensor in into.state_dict().items()}
    with pytest.raises(UserError, match=r"'1\.running_var' holds negative variances"):
        load_into(into, state | {"1.running_var": -torch.ones(4)}, head=("2",))


def test_eight_bit_floats_in_units_of_a_scale_are_refused() -> None:
    state = net().state_dict()
    scaled = state | {"0.weight": state["0.weight"].to(torch.float8_e4m3fn), "0.weight_scale": torch.ones(6)}
    with pytest.raises(UserError, match="in units of a scale"):
        loaded(scaled)


def test_tensors_without_values_are_refused(tmp_path) -> None:
    torch.save({"a": torch.zeros(3, device="meta")}, tmp_path / "w.pth")
    with pytest.raises(UserError, match="'a' has a shape but no values"):
        read_state(tmp_path / "w.pth")
