"""What a share of parameters does not show: every missing tensor is named, a stem, statistics, embeddings refused."""

from typing import Any

import pytest
import torch
from filling import load_into
from torch import Tensor, nn

from transferscope.errors import UserError
from transferscope.models.build import build_network, head_names
from transferscope.models.load_report import Loaded

RESNET, VIT = "torchvision:resnet18", "timm:test_vit"


def without(ref: str, *endings: str) -> dict[str, Tensor]:
    state = build_network(ref, 7, seed=1).state_dict()
    return {name: tensor for name, tensor in state.items() if not name.endswith(endings)}


def load(ref: str, state: dict[str, Tensor], **options: Any) -> Loaded:
    net = build_network(ref, 3, seed=0)
    return load_into(net, state, head=head_names(net, 3), **options)


@pytest.mark.parametrize(
    ("ref", "lost", "kind", "allow"),
    [
        (RESNET, ("conv1.weight",), "the first layer", ["conv1.weight", "*.conv1.weight"]),
        (RESNET, ("running_mean", "running_var"), "running statistics", ["*running_mean", "*running_var"]),
        (RESNET, ("layer2.0.bn1.running_var",), "running statistics", ["layer2.0.bn1.running_var"]),
        (VIT, ("patch_embed.proj.weight",), "the first layer", ["patch_embed.proj.weight"]),
        (VIT, ("patch_embed.proj.bias",), "the first layer", ["patch_embed.*"]),
        (VIT, ("pos_embed",), "an embedding", ["pos_embed"]),
        (VIT, ("cls_token",), "an embedding", "cls_token"),
    ],
)
def test_what_a_network_cannot_do_without_is_refused_unless_allowed_by_name(
    ref: str, lost: tuple[str, ...], kind: str, allow: Any
) -> None:
    state = without(ref, *lost)
    assert load(ref, state, min_share=0.0, allow=["*"]).share > 0.5
    with pytest.raises(UserError, match=f"{kind} would start as in a random network: '.*' is missing.*allow: \\["):
        load(ref, state, min_share=0.5)
    allowed = load(ref, state, min_share=0.5, allow=[allow] if isinstance(allow, str) else allow)
    assert allowed.unfilled and all(name.endswith(lost) for name in allowed.unfilled)
    assert all(name in allowed.sentences()[0] for name in allowed.unfilled)


def test_the_sentence_names_what_to_allow() -> None:
    with pytest.raises(UserError) as refused:
        load(RESNET, without(RESNET, "running_mean", "running_var"))
    assert "(and 39 more tensors are not filled)" in str(refused.value)
    assert "allow: ['*running_mean', '*running_var']}" in str(refused.value)
    load(RESNET, without(RESNET, "running_mean", "running_var"), allow=["*running_mean", "*running_var"])


def test_a_share_is_a_gate_besides() -> None:
    with pytest.raises(UserError, match=r"only .*% of the body's parameters"):
        load(RESNET, without(RESNET, "conv2.weight"), allow=["*"])


def test_other_tensors_may_be_missing_and_are_named() -> None:
    loaded = load(RESNET, without(RESNET, "layer1.0.conv1.weight", "layer2.0.bn1.weight"))
    assert loaded.share > 0.99 and loaded.unfilled == ("layer1.0.conv1.weight", "layer2.0.bn1.weight")
    assert loaded.sentences()[0].endswith("layer1.0.conv1.weight, layer2.0.bn1.weight")


def test_an_allowed_name_that_there_is_not_is_a_slip() -> None:
    with pytest.raises(UserError, match=r"pretrained\.allow.*'conv1\.wieght'; did you mean 'conv1\.weight'"):
        load(RESNET, without(RESNET), allow=["conv1.wieght"])


def test_counters_and_tables_that_a_network_makes_itself_are_not_missing() -> None:
    assert load(RESNET, without(RESNET, "num_batches_tracked")).sentences() == []
    swin = "torchvision:swin_t"
    assert load(swin, without(swin, "relative_position_index")).unfilled == ()
    with pytest.raises(UserError, match=r"an embedding .*relative_position_bias_table"):
        load(swin, without(swin, "bias_table"))


def test_the_count_matters_where_it_weighs_the_statistics() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, momentum=None), nn.Linear(4, 2))
    state = {name: tensor + 1 for name, tensor in net.state_dict().items() if not name.endswith("tracked")}
    with pytest.raises(UserError, match=r"running statistics .*'1\.num_batches_tracked'"):
        load_into(net, state, head=("2",))


def test_what_was_loaded_survives_json_and_older_files() -> None:
    import json
    from dataclasses import asdict

    loaded = load(RESNET, {f"net.{n}": t for n, t in without(RESNET, "layer1.0.bn1.bias").items()})
    assert Loaded.read(json.loads(json.dumps(asdict(loaded)))) == loaded and loaded.under == "net"
    assert "under 'net'" in str(loaded)
    old = {k: v for k, v in asdict(loaded).items() if k not in ("under", "renamed", "adapted", "notes")}
    assert Loaded.read(old).unfilled == ("layer1.0.bn1.bias",)


def test_weights_that_are_none_of_the_networks_are_never_a_pretrained_arm() -> None:
    from transferscope.models.inits import start

    net = build_network(RESNET, 3, seed=0)
    state = {"unrelated": torch.zeros(3)}
    with pytest.raises(UserError, match="nothing was loaded"):
        start("pretrained", net, network=RESNET, classes=3, weights=state, seed=0, min_share=0.0, allow=["*"])


@pytest.mark.parametrize(
    ("ref", "extra", "sentence"),
    [
        (RESNET, "layer1.2.conv1.weight", "they hold 'layer1.2.conv1.weight' of blocks that the network does not have"),
        (RESNET, "layer1.0.conv1.lora_A.weight", "they hold 'layer1.0.conv1.lora_A.weight' of blocks"),
        (VIT, "blocks.12.attn.qkv.weight", "they hold 'blocks.12.attn.qkv.weight' of blocks"),
    ],
)
def test_weights_of_a_larger_network_are_refused_unless_allowed(ref: str, extra: str, sentence: str) -> None:
    state = without(ref) | {extra: torch.ones(3, 3)}
    with pytest.raises(UserError, match=sentence):
        load(ref, state)
    allowed = load(ref, state, allow=[f"{extra.rpartition('.')[0]}.*"])
    assert allowed.sentences() == [f"left out, as blocks that the network does not have: {extra}"]


def test_heads_and_what_lies_beside_the_body_are_no_blocks_of_it() -> None:
    beside = ("projection_head.0.weight", "queue", "decoder.1.weight", "conv1.weight_scale", "fc.2.weight")
    loaded = load(RESNET, without(RESNET) | {name: torch.ones(3, 3) for name in beside})
    assert loaded.share == 1.0 and loaded.sentences() == []
