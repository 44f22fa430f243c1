"""Stems and position embeddings of other inputs: adapted by timm's rules, which are the references here."""

import pytest
import torch
import torchvision
from filling import load_into
from timm.layers.pos_embed import resample_abs_pos_embed
from timm.models._manipulate import adapt_input_conv
from torch import nn

from transferscope.errors import UserError
from transferscope.models.adapt import channels
from transferscope.models.build import build_network, head_names

VIT = {"patch_size": 8, "num_layers": 2, "num_heads": 2, "hidden_dim": 8, "mlp_dim": 16, "num_classes": 4}


@pytest.mark.parametrize("wanted", [1, 2, 4, 5, 6, 9])
def test_channels_follow_timms_rule(wanted: int) -> None:
    weight = torch.randn(4, 3, 5, 5)
    torch.testing.assert_close(channels(weight, wanted), adapt_input_conv(wanted, weight))


@pytest.mark.parametrize("given", [1, 2, 4, 5])
def test_other_numbers_of_channels_keep_the_answer_to_grey(given: int) -> None:
    """Channel by channel: repeated and cut, times given / wanted; three copies of a grey image answer as one did."""
    weight = torch.randn(4, given, 5, 5, dtype=torch.float64).to(torch.float32)
    slow = torch.stack([weight[:, c % given] * (given / 3) for c in range(3)], 1)
    torch.testing.assert_close(channels(weight, 3), slow)
    if given == 1:
        grey = torch.randn(2, 1, 8, 8)
        now = nn.functional.conv2d(grey.repeat(1, 3, 1, 1), channels(weight, 3))
        torch.testing.assert_close(now, nn.functional.conv2d(grey, weight), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("given", "word"), [(1, "1 channel,"), (4, "4 channels,"), (13, "13 channels,")])
def test_a_stem_of_other_channels_is_adapted_and_said(given: int, word: str) -> None:
    net = build_network("torchvision:resnet18", 3, seed=0)
    state = build_network("torchvision:resnet18", 7, seed=1).state_dict()
    state["conv1.weight"] = torch.randn(64, given, 7, 7)
    loaded = load_into(net, state, head=("fc",))
    assert loaded.share == 1 and loaded.unfilled == ()
    how = "repeated, cut and scaled, so that the outputs keep their size"  # timm makes other numbers of 3 alone
    assert loaded.sentences() == [f"conv1.weight was made for {word} adapted to 3 channels: {how}"]
    assert torch.equal(net.get_parameter("conv1.weight"), channels(state["conv1.weight"], 3))


@pytest.mark.parametrize(("given", "wanted"), [(3, 1), (3, 2), (3, 4), (3, 7), (2, 1), (3, 3), (4, 1), (2, 4), (1, 5)])
def test_what_is_said_to_be_as_timm_does_is_what_timm_does(given: int, wanted: int) -> None:
    from timm.models import adapt_input_conv

    net = nn.Sequential(nn.Conv2d(wanted, 4, 3), nn.Flatten(), nn.Linear(4, 2))
    weight = torch.randn(4, given, 3, 3)
    said = load_into(net, {**net.state_dict(), "0.weight": weight}, head=("2",)).sentences()
    if given == wanted:
        assert not said
        return
    try:
        theirs = adapt_input_conv(wanted, weight)
        alike = theirs.shape[1] == wanted and torch.allclose(theirs, net.get_parameter("0.weight"), rtol=1e-5)
    except (NotImplementedError, AssertionError):
        alike = False
    assert said[0].endswith(" as timm does") == alike, said


def test_no_other_layer_is_stretched() -> None:
    net = build_network("torchvision:resnet18", 3, seed=0)
    state = build_network("torchvision:resnet18", 7, seed=1).state_dict()
    state["layer1.0.conv1.weight"] = torch.randn(64, 32, 3, 3)
    loaded = load_into(net, state, head=("fc",))
    assert loaded.unfilled == ("layer1.0.conv1.weight",) and loaded.adapted == ()
    assert loaded.sentences() == ["not filled by the weights, so as in a random network: layer1.0.conv1.weight"]


@pytest.mark.parametrize("side", [16, 48])
def test_torchvisions_position_embedding_is_resampled(side: int) -> None:
    net = torchvision.models.VisionTransformer(image_size=32, **VIT)  # type: ignore[arg-type]
    state = torchvision.models.VisionTransformer(image_size=side, **VIT).state_dict()  # type: ignore[arg-type]
    loaded = load_into(net, state, head=("heads.head",))
    grid = side // 8
    assert loaded.unfilled == () and f"{grid} x {grid} grid, resampled to 4 x 4" in loaded.sentences()[0]
    expected = resample_abs_pos_embed(state["encoder.pos_embedding"], [4, 4], [grid, grid], num_prefix_tokens=1)
    torch.testing.assert_close(net.encoder.pos_embedding.detach(), expected)


@pytest.mark.parametrize("name", ["test_vit", "test_vit2"])  # with a class token, and with register tokens
def test_timms_position_embeddings_are_resampled(name: str) -> None:
    import timm

    if not timm.is_model(name):
        pytest.skip("this release of timm has no such network")
    net = timm.create_model(name, img_size=64, num_classes=3)
    source = timm.create_model(name, img_size=96, num_classes=3)
    state = source.state_dict()
    loaded = load_into(net, state, head=head_names(net, 3))
    assert loaded.unfilled == () and loaded.adapted
    assert not torch.equal(net.pos_embed, timm.create_model(name, img_size=64, num_classes=3).pos_embed)
    extra = 0 if net.no_embed_class else net.num_prefix_tokens
    grid = source.patch_embed.grid_size
    expected = resample_abs_pos_embed(state["pos_embed"], [*net.patch_embed.grid_size], [*grid], extra)
    torch.testing.assert_close(net.pos_embed.detach(), expected)


def test_a_bias_table_of_another_window_is_resampled() -> None:
    options = {"patch_size": [4, 4], "embed_dim": 8, "depths": [1, 1], "num_heads": [2, 2], "num_classes": 3}
    net, source = (
        torchvision.models.SwinTransformer(window_size=[w, w], **options)  # type: ignore[arg-type]
        for w in (7, 4)
    )
    state = {n: torch.full_like(t, 0.5) if n.endswith("bias_table") else t for n, t in source.state_dict().items()}
    loaded = load_into(net, state, head=("head",))
    assert loaded.unfilled == () and "another window" in loaded.sentences()[0]
    table = net.features[1][0].attn.relative_position_bias_table
    torch.testing.assert_close(table.detach(), torch.full_like(table, 0.5))


def test_a_position_embedding_that_cannot_be_resampled_is_refused() -> None:
    net = torchvision.models.VisionTransformer(image_size=32, **VIT)  # type: ignore[arg-type]
    for odd in (torch.randn(1, 12, 8), torch.randn(1, 17, 9), None):
        state = net.state_dict()
        state["encoder.pos_embedding"] = odd if odd is not None else state["class_token"]
        if odd is None:
            del state["encoder.pos_embedding"]
        state["conv_proj.bias"] = torch.ones(8)
        with pytest.raises(UserError, match=r"an embedding would start as in a random.*'encoder\.pos_embedding'"):
            load_into(net, state, head=("heads.head",))
