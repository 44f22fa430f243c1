"""Where a body lies in a file: nests, prefixes, wrappers, older names; several places; the work it takes."""

import re
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torchvision
from filling import load_into
from torch import Tensor, nn
from torchvision.models.densenet import _load_state_dict as as_torchvision_loads

from transferscope.errors import UserError
from transferscope.models.build import build_network, head_names
from transferscope.models.checkpoint import read_state
from transferscope.models.layouts import found

State = dict[str, Tensor]


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(6, 6, 3, bias=False), nn.BatchNorm2d(6)


class Net(nn.Module):
    """Like a residual network: a stem, stages of blocks, a head; as many children as its layers have numbers."""

    def __init__(self, classes: int = 5) -> None:
        super().__init__()
        self.conv1, self.bn1, self.relu = nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU()
        self.layer1, self.layer2 = nn.Sequential(Block(), Block()), nn.Sequential(Block())
        self.avgpool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(6, classes)


def weights(seed: int) -> State:
    torch.manual_seed(seed)
    state = Net(9).state_dict()
    return {n: t + torch.rand(t.shape) if t.is_floating_point() else t for n, t in state.items()}


A = weights(1)
B = weights(2)


def under(prefix: str, state: Mapping[str, Tensor] = A) -> State:
    return {prefix + name: tensor for name, tensor in state.items()}


def numbered() -> State:
    """As lightly saves a backbone: Sequential(*children[:-1])."""
    net = Net(9)
    net.load_state_dict(A)
    return nn.Sequential(*list(net.children())[:-1]).state_dict()


def inside(after: int, wrapper: str) -> State:
    """`wrapper` put into the names of the stages after so many of their segments."""
    return {
        ".".join([*n.split(".")[:after], wrapper, *n.split(".")[after:]]) if n.startswith("layer") else n: t
        for n, t in A.items()
    }


LAYOUTS: dict[str, Any] = {
    "plain": A,
    "lightly": {"state_dict": under("backbone.", numbered()) | {"projection_head.layers.0.weight": A["fc.weight"]}},
    "moco v3, both the same": {"state_dict": under("module.base_encoder.") | under("module.momentum_encoder.")},
    "byol": {"state_dict": under("online_encoder.net.")},
    "feature_extractor": under("feature_extractor."),
    "an unheard-of prefix": under("my.very.own.thing_7."),
    "compiled, whole": under("_orig_mod.module."),
    "compiled, by stage": inside(1, "_orig_mod"),
    "checkpointed blocks": inside(2, "_checkpoint_wrapped_module"),
    "FSDP blocks": under("_fsdp_wrapped_module.", inside(2, "_fsdp_wrapped_module._checkpoint_wrapped_module")),
    "DDP inside": inside(1, "module"),
    "SWA": {"n_averaged": torch.tensor(5), **under("module.")},
    "vissl": {
        "phase": 1,
        "classy_state_dict": {"base_model": {"model": {"trunk": under("_feature_blocks."), "heads": {}}}},
    },
    "a key of its own": {"target_encoder": under("module."), "epoch": 3},
    "in a list": {"models": [A], "step": 7},
    "with its optimiser": {"state_dict": A, "optimizer": {"exp_avg": {n: t * 0 for n, t in A.items()}}},
    "with a head elsewhere": {"model": {**under("backbone.body."), "head.classifier.weight": A["fc.weight"]}},
    "no counters, as before 2018": {n: t for n, t in A.items() if not n.endswith("num_batches_tracked")},
}


def body_is(net: nn.Module, state: Mapping[str, Tensor], besides: str = "fc") -> bool:
    mine = net.state_dict()
    return all(
        torch.equal(mine[n], t) for n, t in state.items() if not n.startswith(besides) and not n.endswith("tracked")
    )


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_loads_the_same_body(tmp_path: Path, layout: str) -> None:
    torch.save(LAYOUTS[layout], tmp_path / "w.pth")
    net = Net()
    loaded = load_into(net, read_state(tmp_path / "w.pth"), head=("fc",))
    assert loaded.share == 1 and loaded.unfilled == () and loaded.tensors_matched == loaded.tensors_total
    assert body_is(net, A)


def test_a_network_that_wraps_its_body_takes_plain_weights() -> None:
    net = nn.ModuleDict({"backbone": Net(), "head": nn.Linear(6, 2)})
    body = {name: tensor for name, tensor in A.items() if not name.startswith("fc")}
    for state in (body, under("encoder.", body), under("backbone.", body), under("module.backbone.", body)):
        net["backbone"] = Net()
        loaded = load_into(net, state, head=("head", "backbone.fc"))
        assert loaded.share == 1 and body_is(net["backbone"], A)


@pytest.mark.parametrize(
    ("content", "choices"),
    [
        ({"state_dict": under("student_net.") | under("teacher_net.", B)}, ("student_net", "teacher_net")),
        ({"student": under("module.backbone."), "teacher": under("backbone.", B)}, ("student", "teacher")),
        ({"state_dict": A, "state_dict_ema": B, "epoch": 1}, ("state_dict", "state_dict_ema")),
        ({"model": A, "model_ema": B}, ("model", "model_ema")),
        (under("module.encoder_q.") | under("module.encoder_k.", B), ("encoder_q", "encoder_k")),
        (A | under("ema.", B), (".", "ema")),
        ({"state_dict": under("model.") | under("model.ema.", B)}, ("state_dict.model", "ema")),
    ],
)
def test_several_candidates_are_asked_about_and_chosen_by_name(
    tmp_path: Path, content: Any, choices: tuple[str, str]
) -> None:
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(UserError, match="2 times with different values") as asked:
        load_into(Net(), read_state(tmp_path / "w.pth"), head=("fc",))
    for choice, state in zip(choices, (A, B), strict=True):
        assert f"#{choice}" in str(asked.value)
        net = Net()
        loaded = load_into(net, read_state(tmp_path / "w.pth", choice), head=("fc",))
        assert loaded.share == 1 and loaded.sentences()[0].startswith("the file also has other values of it, under ")
        assert body_is(net, state), choice


def test_the_same_values_twice_are_no_question_and_are_said(tmp_path: Path) -> None:
    torch.save(LAYOUTS["moco v3, both the same"], tmp_path / "w.pth")
    loaded = load_into(Net(), read_state(tmp_path / "w.pth"), head=("fc",))
    assert loaded.under == "state_dict.module.base_encoder"
    assert loaded.sentences() == ["the same values are also under state_dict.module.momentum_encoder"]


def test_the_top_of_a_file_has_a_name_where_places_are_listed(tmp_path: Path) -> None:
    torch.save(A | under("ema.", B), tmp_path / "w.pth")
    loaded = load_into(Net(), read_state(tmp_path / "w.pth", "ema"), head=("fc",))
    assert loaded.sentences()[0] == "the file also has other values of it, under (no prefix)"
    loaded = load_into(Net(), under("again.") | A, head=("fc",))
    assert loaded.sentences()[0] in (
        "the same values are also under (no prefix)",
        "the same values are also under again",
    )


def test_a_body_beside_the_usual_place_is_taken_only_when_asked_for(tmp_path: Path) -> None:
    torch.save({"state_dict": {"temperature": torch.ones(1)}, "trunk": A}, tmp_path / "w.pth")
    with pytest.raises(UserError, match=r"found under 'trunk'.*w\.pth#trunk'"):
        load_into(Net(), read_state(tmp_path / "w.pth"), head=("fc",))
    assert load_into(Net(), read_state(tmp_path / "w.pth", "trunk"), head=("fc",)).share == 1
    for part in ("trunks", "state_dict"):
        with pytest.raises(UserError, match=f"nothing of this network under '#{part}', it is under #trunk"):
            load_into(Net(), read_state(tmp_path / "w.pth", part), head=("fc",))
    with pytest.raises(UserError, match="under '#trunk', nor anywhere else in it; its keys are state_dict, trunk"):
        load_into(nn.Conv2d(5, 7, 3), read_state(tmp_path / "w.pth", "trunk"), head=("fc",))


def test_children_by_number_only_where_every_shape_agrees() -> None:
    state = numbered()
    state["4.0.bn1.weight"] = torch.ones(7)  # the network has 6 there
    with pytest.raises(UserError, match=r"only .* of the body's parameters"):
        load_into(Net(), state, head=("fc",))


def test_what_is_not_there_is_refused_with_the_names_of_the_file(tmp_path: Path) -> None:
    torch.save(
        {"epoch": 1, "state_dict": {"encoder.blocks.0.w": torch.zeros(2), "x": torch.zeros(1)}}, tmp_path / "w.pth"
    )
    with pytest.raises(
        UserError, match=r"'conv1.weight' is missing.*names begin with state_dict\.encoder\.blocks\.0\.w, .*epoch"
    ):
        load_into(Net(), read_state(tmp_path / "w.pth"), head=("fc",))


def test_the_older_names_of_densenet_load_as_torchvision_loads_them() -> None:
    torch.manual_seed(0)
    source = torchvision.models.DenseNet(8, (2, 2), 16, num_classes=4)
    old = {
        re.sub(r"(denselayer\d+\.(?:norm|conv))([12])\.", r"\1.\2.", n): t + 1 if t.is_floating_point() else t
        for n, t in source.state_dict().items()
        if not n.endswith("num_batches_tracked")
    }
    assert sum(".norm.1." in name for name in old) > 0
    theirs, ours = (torchvision.models.DenseNet(8, (2, 2), 16, num_classes=4) for _ in range(2))
    given = SimpleNamespace(get_state_dict=lambda **_: dict(old))
    as_torchvision_loads(theirs, given, progress=False)  # type: ignore[arg-type]
    for state in (old, {f"module.densenet121.{name}": tensor for name, tensor in old.items()}):
        loaded = load_into(ours, state, head=("classifier",))
        assert loaded.share == 1 and "DenseNet's names" in loaded.sentences()[0]
        assert body_is(ours, theirs.state_dict(), "classifier")


def test_the_older_names_of_torchvisions_vit() -> None:
    options = {"image_size": 32, "patch_size": 16, "num_layers": 2, "num_heads": 2, "hidden_dim": 8, "mlp_dim": 16}
    source, net = (torchvision.models.VisionTransformer(**options, num_classes=4) for _ in range(2))  # type: ignore[arg-type]
    old = {
        n.replace("mlp.0.", "mlp.linear_1.").replace("mlp.3.", "mlp.linear_2."): t + 1
        for n, t in source.state_dict().items()
    }
    loaded = load_into(net, old, head=("heads.head",))
    assert loaded.unfilled == () and "linear_1" in loaded.renamed
    assert body_is(net, {n: t + 1 for n, t in source.state_dict().items()}, "heads")


def test_timms_own_conversion_is_used_where_names_differ() -> None:
    """OpenCLIP keeps timm's tower under visual.trunk; timm's filter also takes its own older names of Swin stages."""
    net = build_network("timm:test_vit", 3, seed=0)
    source = build_network("timm:test_vit", 7, seed=1).state_dict()
    head = head_names(net, 3)
    loaded = load_into(net, {f"visual.trunk.{n}": t for n, t in source.items()}, head=head)
    assert loaded.unfilled == () and body_is(net, source, head[0])


class Counting(dict[str, str]):
    asked = 0

    def get(self, *args: Any) -> Any:
        self.asked += 1
        return super().get(*args)


@pytest.mark.parametrize("count", [1_000, 50_000])
def test_looking_up_takes_work_in_proportion_to_the_names(count: int) -> None:
    index = Counting({f"blocks.{k}.attn.weight": f"blocks.{k}.attn.weight" for k in range(count)})
    names = [f"a.b.c.d.e.model.blocks.{k}.attn._orig_mod.weight" for k in range(count)]
    groups = found(names, index)
    assert groups == {"a.b.c.d.e.model": {f"blocks.{k}.attn.weight": name for k, name in enumerate(names)}}
    assert index.asked == 4 * count  # as many as the network's own names have segments, whatever the prefixes
    index.asked = 0
    assert found(["x." * 10_000 + "weight"], index) == {} and index.asked == 4
