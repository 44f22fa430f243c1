"""Checkpoints with the keys that published code of MAE, SimCLR and weight averaging writes, made with plain torch."""

import argparse
from pathlib import Path
from typing import Any

import pytest
import torch
from filling import load_into
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from transferscope.models.build import build_network
from transferscope.models.checkpoint import read_state
from transferscope.models.load_report import Loaded

WIDTH, DEPTH, PATCHES = 64, 6, 16 * 16


def drawn(*shape: int) -> Tensor:
    return torch.randn(shape)


def layer(name: str, out: int, into: int) -> dict[str, Tensor]:
    return {f"{name}.weight": drawn(out, into), f"{name}.bias": drawn(out)}


def norm(name: str, width: int) -> dict[str, Tensor]:
    return {f"{name}.weight": drawn(width), f"{name}.bias": drawn(width)}


def transformer(prefix: str, width: int, depth: int) -> dict[str, Tensor]:
    """Blocks as models_mae.py has them, from timm's Block."""
    found = {}
    for at in (f"{prefix}.{number}" for number in range(depth)):
        found |= norm(f"{at}.norm1", width) | layer(f"{at}.attn.qkv", 3 * width, width)
        found |= layer(f"{at}.attn.proj", width, width) | norm(f"{at}.norm2", width)
        found |= layer(f"{at}.mlp.fc1", 4 * width, width) | layer(f"{at}.mlp.fc2", width, 4 * width)
    return found


def mae(side: int = 16) -> dict[str, Tensor]:
    """MaskedAutoencoderViT.state_dict() of facebookresearch/mae, for a small network."""
    small = WIDTH // 2
    return {
        "cls_token": drawn(1, 1, WIDTH),
        "pos_embed": drawn(1, side * side + 1, WIDTH),
        "mask_token": drawn(1, 1, small),
        "decoder_pos_embed": drawn(1, side * side + 1, small),
        "patch_embed.proj.weight": drawn(WIDTH, 3, 16, 16),
        "patch_embed.proj.bias": drawn(WIDTH),
        **transformer("blocks", WIDTH, DEPTH),
        **norm("norm", WIDTH),
        **layer("decoder_embed", small, WIDTH),
        **transformer("decoder_blocks", small, 2),
        **norm("decoder_norm", small),
        **layer("decoder_pred", 3 * 16 * 16, small),
    }


def vision_transformer() -> nn.Module:
    import timm

    how: dict[str, Any] = {"img_size": 256, "embed_dim": WIDTH, "depth": DEPTH, "num_heads": 2}
    net: nn.Module = timm.create_model("vit_tiny_patch16_224", num_classes=4, **how)
    return net


def read(path: Path, content: Any, net: nn.Module, head: str, part: str = "") -> Loaded:
    torch.save(content, path)
    return load_into(net, read_state(path, part), head=(head,))


def held(net: nn.Module, state: dict[str, Tensor]) -> bool:
    """Whether the network has these values, and they are all there are but for its head."""
    own = {n: t for n, t in net.state_dict().items() if not n.startswith(("head", "fc")) and "tracked" not in n}
    return own.keys() == state.keys() and all(torch.equal(tensor, state[name]) for name, tensor in own.items())


def body(state: dict[str, Tensor], *left: str) -> dict[str, Tensor]:
    return {n: t for n, t in state.items() if not n.startswith(left or "none") and "tracked" not in n}


def test_mae_as_it_is_pretrained_and_as_it_is_finetuned(tmp_path: Path) -> None:
    """The decoder is left out and said; a checkpoint of main_pretrain.py also holds an optimiser and arguments."""
    state, net = mae(), vision_transformer()
    content = {"model": state, "optimizer": {"state": {0: {"step": 3}}}, "epoch": 799, "scaler": {"scale": 1.0}}
    loaded = read(tmp_path / "w.pth", content, net, "head")
    assert loaded.share == 1 and loaded.unfilled == () and loaded.under == "model" and not loaded.renamed
    assert held(net, body(state, "decoder", "mask_token"))
    assert set(loaded.unexpected) == {name for name in state if name.startswith(("decoder", "mask_token"))}
    tuned = {n: t for n, t in state.items() if not n.startswith(("decoder", "mask"))} | layer("head", 1000, WIDTH)
    net = vision_transformer()
    assert read(tmp_path / "w.pth", {"model": tuned}, net, "head").unexpected == () and held(net, body(tuned, "head"))


def test_mae_of_another_grid_is_resampled(tmp_path: Path) -> None:
    net = vision_transformer()
    loaded = read(tmp_path / "w.pth", {"model": mae(14)}, net, "head")
    assert loaded.share == 1
    assert loaded.adapted == ("position embedding of a 14 x 14 grid, resampled to 16 x 16 as timm does",)


def test_arguments_in_a_checkpoint_run_nothing(tmp_path: Path) -> None:
    """main_pretrain.py saves an argparse.Namespace beside the weights."""
    content = {"model": mae(), "args": argparse.Namespace(lr=1e-3, output_dir=Path("out")), "epoch": 1}
    net = vision_transformer()
    assert read(tmp_path / "w.pth", content, net, "head").share == 1


def residual(seed: int) -> nn.Module:
    return build_network("torchvision:resnet18", 5, seed=seed)


def test_simclr_with_its_projection_for_a_head(tmp_path: Path) -> None:
    """sthalles/SimCLR: `backbone.`, whose fc is a projection of two layers; its own loader leaves that out."""
    given = residual(1)
    state = {f"backbone.{n}": t for n, t in given.state_dict().items() if not n.startswith("fc")}
    state |= layer("backbone.fc.0", 512, 512) | layer("backbone.fc.2", 128, 512)
    net = residual(0)
    content = {"epoch": 200, "arch": "resnet18", "state_dict": state, "optimizer": {"state": {}}}
    loaded = read(tmp_path / "w.pth.tar", content, net, "fc")
    assert loaded.share == 1 and loaded.unfilled == () and loaded.under == "state_dict.backbone"
    assert held(net, body(given.state_dict(), "fc"))


@pytest.mark.parametrize("way", ["Spijkervet", "lightly", "solo-learn"])
def test_simclr_of_other_code(tmp_path: Path, way: str) -> None:
    """Spijkervet/SimCLR: `encoder.` with an empty fc and `projector.`; lightly: the backbone's children by number;
    solo-learn: `backbone.`, `projector.` and an online `classifier.` in a file of Lightning."""
    given, net = residual(1), residual(0)
    plain = {n: t for n, t in given.state_dict().items() if not n.startswith("fc")}
    content: Any = {f"encoder.{n}": t for n, t in plain.items()} | layer("projector.0", 512, 512)
    if way == "lightly":
        numbered = nn.Sequential(*list(given.children())[:-1]).state_dict()
        state = {f"backbone.{n}": t for n, t in numbered.items()} | layer("projection_head.layers.0", 512, 512)
        content = {"state_dict": state, "epoch": 1, "pytorch-lightning_version": "2.4.0"}
    elif way == "solo-learn":
        state = {f"backbone.{n}": t for n, t in plain.items()} | layer("projector.0", 2048, 512)
        content = {"state_dict": state | layer("classifier", 100, 512), "hyper_parameters": {"method": "simclr"}}
    loaded = read(tmp_path / "w.pth", content, net, "fc")
    assert loaded.share == 1 and loaded.unfilled == () and held(net, body(given.state_dict(), "fc"))


@pytest.mark.parametrize("buffers", [True, False])
def test_averaged_weights_as_torch_keeps_them(tmp_path: Path, buffers: bool) -> None:
    """torch's AveragedModel: `module.` and `n_averaged`; beside the last weights the file is asked which is meant."""
    one, other = residual(1), residual(2)
    averaged = AveragedModel(one, use_buffers=buffers)  # type: ignore[no-untyped-call]
    averaged.update_parameters(one)
    averaged.update_parameters(other)
    mean = dict(averaged.module.state_dict())
    assert not torch.equal(mean["conv1.weight"], one.state_dict()["conv1.weight"])
    net = residual(0)
    loaded = read(tmp_path / "w.pth", averaged.state_dict(), net, "fc")
    assert loaded.share == 1 and loaded.under == "module" and held(net, body(mean, "fc"))
    both = {"state_dict": other.state_dict(), "swa_state_dict": averaged.state_dict(), "epoch": 160}
    net = residual(0)
    loaded = read(tmp_path / "w.pth", both, net, "fc", "swa_state_dict")
    assert loaded.share == 1 and held(net, body(mean, "fc"))
    assert loaded.sentences() == ["the file also has other values of it, under state_dict"]
