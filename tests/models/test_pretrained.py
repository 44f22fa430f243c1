"""Real weights from a package, files, and timm's hub weights without a hub."""

import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from filling import load_into, save_state
from PIL import Image
from skimage import data
from timm.data import ImageNetInfo

from transferscope.errors import UserError
from transferscope.models import describe_weights, weights_fingerprint
from transferscope.models.build import build_network
from transferscope.models.inits import start
from transferscope.models.pretrained import timm as hub
from transferscope.models.pretrained import weights_state
from transferscope.models.weights import fingerprint_state

LITE, LITE_WEIGHTS = "timm:tf_efficientnet_lite0", "package:efficientnet-lite0"


@cache
def lite0() -> torch.nn.Module:
    """All weights mapped, the ImageNet head too."""
    net = build_network(LITE, 1000, seed=0)
    loaded = load_into(net, weights_state(LITE_WEIGHTS, LITE), head=())
    assert loaded.share == 1 and loaded.tensors_matched == loaded.tensors_total
    return net.eval()


def top5(photo: np.ndarray) -> set[str]:
    how = describe_weights(LITE_WEIGHTS, LITE)
    image = Image.fromarray(photo)
    short = min(image.size)
    image = image.resize(
        (round(image.width * 256 / short), round(image.height * 256 / short)), Image.Resampling.BICUBIC
    )
    left, top = (image.width - 224) // 2, (image.height - 224) // 2
    pixels = np.asarray(image.crop((left, top, left + 224, top + 224)), dtype=np.float32) / 255
    x = torch.from_numpy((pixels - np.float32(how["mean"])) / np.float32(how["std"])).permute(2, 0, 1)[None]
    with torch.no_grad():
        best = lite0()(x)[0].topk(5).indices.tolist()
    names = ImageNetInfo()
    return {names.index_to_description(index).split(",")[0] for index in best}


@pytest.mark.parametrize(
    ("photo", "objects"),
    [
        (data.chelsea, {"tabby", "tiger cat", "Egyptian cat"}),
        (data.coffee, {"espresso", "cup"}),
        (data.rocket, {"missile", "projectile"}),
    ],
)
def test_the_mapped_weights_name_what_is_in_a_photograph(photo: Callable[[], np.ndarray], objects: set[str]) -> None:
    assert objects <= top5(photo())


def test_the_preprocessing_is_the_one_the_weights_were_trained_with() -> None:
    """The first batch norm's running variance is that of photographs under mean = std = 0.5, not under ImageNet's."""
    photos = [data.chelsea(), data.coffee(), data.rocket(), data.astronaut()]
    pixels = np.stack([np.asarray(Image.fromarray(p).resize((224, 224)), dtype=np.float32) / 255 for p in photos])
    how = describe_weights(LITE_WEIGHTS, LITE)
    ratios = []
    for mean, std in ((how["mean"], how["std"]), ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))):
        x = torch.from_numpy((pixels - np.float32(mean)) / np.float32(std)).permute(0, 3, 1, 2)
        with torch.no_grad():
            seen = lite0().conv_stem(x).var((0, 2, 3))
        ratios.append(abs(float((seen / lite0().bn1.running_var).median().log())))
    ours, imagenet = ratios
    assert ours < 0.5 < 1 < imagenet  # measured: 0.34 and 1.24 (natural logarithms of the ratio of variances)


def test_package_weights_are_the_pretrained_arm_at_another_head() -> None:
    net = build_network(LITE, 9, seed=0)
    loaded = start("pretrained", net, network=LITE, classes=9, weights=LITE_WEIGHTS, seed=0)
    assert loaded is not None and loaded.share == 1
    assert loaded.parameters_total == sum(p.numel() for p in lite0().parameters()) - 1000 * 1281
    assert torch.equal(net.get_parameter("conv_head.weight"), lite0().get_parameter("conv_head.weight"))


def test_file_weights_are_identified_by_their_tensors(tmp_path: Path) -> None:
    state = build_network("timm:resnet18", 4, seed=5).state_dict()
    save_state(state, tmp_path / "a.safetensors")
    torch.save({"state_dict": state, "epoch": 7}, tmp_path / "b.pth")
    a, b = (weights_fingerprint(f"file:{tmp_path}/{name}", "timm:resnet18") for name in ("a.safetensors", "b.pth"))
    assert a == b
    memo = tmp_path / "memo"
    assert weights_fingerprint(f"file:{tmp_path}/a.safetensors", "timm:resnet18", memo) == a
    state["fc.bias"] += 1
    save_state(state, tmp_path / "a.safetensors")
    assert weights_fingerprint(f"file:{tmp_path}/a.safetensors", "timm:resnet18", memo) != a
    shown = describe_weights(f"file:{tmp_path}/b.pth", LITE)
    assert shown["mean"] == [0.5] * 3 and "b.pth" in shown["source"]
    assert describe_weights(f"file:{tmp_path}/b.pth", "torchvision:resnet18")["mean"] == [0.485, 0.456, 0.406]


def test_a_fingerprint_covers_the_part_and_what_was_adapted(tmp_path: Path) -> None:
    """Plain weights keep the hash of the file's tensors, by which earlier results are found."""
    student, teacher = (build_network("timm:resnet18", 4, seed=seed).state_dict() for seed in (5, 6))
    torch.save({"student": student, "teacher": teacher}, tmp_path / "both.pth")
    torch.save({"state_dict": {f"module.{name}": tensor for name, tensor in student.items()}}, tmp_path / "one.pth")

    def of(name: str) -> str:
        return weights_fingerprint(f"file:{tmp_path}/{name}", "timm:resnet18")

    assert of("both.pth#student") == fingerprint_state(student)
    assert of("both.pth#teacher") == fingerprint_state(teacher)
    assert of("one.pth") == fingerprint_state({f"module.{name}": tensor for name, tensor in student.items()})
    grey = {**student, "conv1.weight": student["conv1.weight"][:, :1].clone()}
    save_state(grey, tmp_path / "grey.safetensors")
    assert of("grey.safetensors") != fingerprint_state(grey)  # a stem left random once had that one
    (tmp_path / "both.pth").rename(tmp_path / "odd#name.pth")
    assert of("odd#name.pth#teacher") == fingerprint_state(teacher)
    with pytest.raises(UserError, match=r"nothing of this network under '#tutor', it is under #student, #teacher"):
        of("odd#name.pth#tutor")


def test_hub_weights_come_from_the_local_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = build_network("timm:resnet18", 1000, seed=5).state_dict()
    repo = tmp_path / "models--timm--resnet18.a1_in1k"
    (repo / "refs").mkdir(parents=True)
    (repo / "refs" / "main").write_text("abc")
    (repo / "snapshots" / "abc").mkdir(parents=True)
    save_state(state, repo / "snapshots" / "abc" / "model.safetensors")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert hub.locate("timm:resnet18") == repo / "snapshots" / "abc" / "model.safetensors"
    found = weights_state("timm", "timm:resnet18")
    assert found.keys() == state.keys() and all(torch.equal(found[name], state[name]) for name in state)
    assert len(weights_fingerprint("timm", "timm:resnet18")) == 32
    assert describe_weights("timm", "timm:resnet18")["source"] == "weights of timm/resnet18.a1_in1k published by timm"


def hangs(*_: object, **__: object) -> None:
    """A name lookup that answers after a minute, too late for anybody."""
    time.sleep(60)
    raise OSError


@pytest.mark.parametrize("offline", [True, False])
def test_a_hub_out_of_reach_fails_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, offline: bool) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    if not offline:
        monkeypatch.delenv("HF_HUB_OFFLINE")
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "https://hub.invalid")
        monkeypatch.setattr(hub, "getproxies", dict)
        monkeypatch.setattr("socket.create_connection", hangs)
    began = time.perf_counter()
    with pytest.raises(UserError, match="HF_HUB_OFFLINE is set" if offline else "cannot be reached"):
        weights_state("timm", "timm:resnet18")
    assert time.perf_counter() - began < 30, "half of what the lookup would hang"


def test_unknown_hub_weights_are_named() -> None:
    for network, says in (("timm:resnet81", "did you mean"), ("timm:resnet18.no_such_tag", "no such weights")):
        with pytest.raises(UserError, match=says):
            hub.locate(network)
