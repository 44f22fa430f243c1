"""Pictures of more than 8 bits, from a folder of arrays through `init` and `check` to the page."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from smoke import images

SMALL = [
    "network=smoke.nets:tiny",
    "pretrained=null",
    "arms=[random]",
    "analyses=[images]",
    "image_size=32",
    "seeds=1",
    "recipe.epochs=1",
    "recipe.lr=0.05",
    "resources={slots: 1, executor: inline}",
]
SAID = [word for change in SMALL for word in ("--set", change)]


def deepened(folder: Path, change: Callable[[np.ndarray], np.ndarray], suffix: str) -> None:
    """The shapes of the smoke test with other values."""
    images.write(folder, each=8)
    for file in list(folder.rglob("*.*")):
        values = change(np.asarray(Image.open(file).convert("L")))
        file.unlink()
        if suffix == "npy":
            np.save(file.with_suffix(".npy"), values)
        else:
            Image.fromarray(values).save(file.with_suffix(f".{suffix}"))


def target(folder: Path) -> object:
    return yaml.safe_load((folder / "study.yaml").read_text(encoding="utf-8"))["targets"]["scans"]


def test_arrays_of_12_bits_from_init_to_the_page(tmp_path: Path, call) -> None:
    deepened(tmp_path / "scans", lambda grey: (grey - grey.min()).astype(np.uint16) * 28, "npy")
    wrote = call("init", "scans", cwd=tmp_path)
    assert wrote.code == 0 and "16-bit values from 0 to " in wrote.out, wrote.err
    assert target(tmp_path) == {"ref": "folder:scans", "window": [0, 4095]}
    assert "window: [0, 4095]\n" in (tmp_path / "study.yaml").read_text(encoding="utf-8")
    checked = call("check", *SAID, cwd=tmp_path)
    assert checked.code == 0, checked.out + checked.err
    for words in ("16-bit values from 0 to ", "Values 0 to 4095 of the 16-bit pictures are spread to 0..255"):
        assert words in checked.out
    done = call("run", *SAID, cwd=tmp_path)
    assert done.code == 0, done.out + done.err
    assert "Values 0 to 4095 of the 16-bit pictures" in (tmp_path / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("suffix", ["png", "npy"])
def test_dark_pictures_are_given_a_window_by_init_and_refused_without(tmp_path: Path, call, suffix: str) -> None:
    deepened(tmp_path / "scans", lambda grey: grey // 12, suffix)
    wrote = call("init", "scans", cwd=tmp_path)
    assert wrote.code == 0 and target(tmp_path) == {"ref": "folder:scans", "window": "percentile"}, wrote.err
    assert call("check", *SAID, cwd=tmp_path).code == 0
    refused = call("check", *SAID, "--set", "targets={scans: 'folder:scans'}", cwd=tmp_path)
    assert refused.code == 3 and "would be trained nearly black; set the target's window" in refused.out


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("{ref: 'folder:scans', window: fill}", "targets.scans.window"),
        ("{ref: 'folder:scans', window: [9, 1]}", "the two ends of a window rise"),
        ("{ref: 'folder:scans', channels: [-1]}", "name one band or several, counted from 0"),
        ("{ref: 'folder:scans', channels: [7]}", "has no band 7"),
    ],
)
def test_what_cannot_be_is_one_sentence(tmp_path: Path, call, said: str, words: str) -> None:
    deepened(tmp_path / "scans", lambda grey: grey.astype(np.uint16) * 16, "npy")
    (tmp_path / "study.yaml").write_text(
        "network: smoke.nets:tiny\ntargets: {scans: 'folder:scans'}\n", encoding="utf-8"
    )
    found = call("check", *SAID, "--set", f"targets={{scans: {said}}}", cwd=tmp_path)
    assert found.code in (2, 3) and words in found.out + found.err, found.out + found.err
    assert "Traceback" not in found.out + found.err


FIVE = """\
name: bands
targets: {fields: {ref: "folder:fields", channels: [4, 3, 2, 1, 0]}}
network: {ref: "timm:test_resnet", options: {in_chans: 5}}
pretrained: file:weights.safetensors
image_size: 32
seeds: 2
recipe: {epochs: 1, batch_size: 8, lr: 0.05, precision: float32, augment: {flip: true, then: [{rotate: {}}]}}
analyses: {transfer: {}, shuffle: {blocks: [8, channels], seeds: 1}, mistakes: {}}
resources: {device: cpu, executor: inline}
"""


def test_a_network_of_five_channels_from_weights_of_three(tmp_path: Path, call) -> None:
    from safetensors.torch import save_file

    from transferscope.models.build import build_network

    images.write(tmp_path / "fields", each=8)
    for file in list((tmp_path / "fields").rglob("*.*")):
        colours = np.asarray(Image.open(file).convert("RGB").resize((36, 36))).astype(np.uint16) * 200
        file.unlink()
        np.save(file.with_suffix(".npy"), np.concatenate([colours, colours[..., :2] // 2], axis=2))
    save_file(build_network("timm:test_resnet", 3, seed=1).state_dict(), tmp_path / "weights.safetensors")
    (tmp_path / "study.yaml").write_text(FIVE, encoding="utf-8")
    checked = call("check", cwd=tmp_path)
    assert checked.code == 0, checked.out + checked.err
    assert "was made for 3 channels, adapted to 5 channels as timm does" in " ".join(checked.out.split())
    for change, words in {
        "network=timm:test_resnet": "but images here have 5; set network.options.in_chans",
        "recipe.augment={then: [{color_jitter: {}}]}": "recipe.augment.then",
        "pretrained={source: 'digits'}": "pictures of 3 and of 5 channels; a network takes one number",
    }.items():
        refused = call("check", "--set", change, cwd=tmp_path)
        assert refused.code in (2, 3) and words in refused.out + refused.err, refused.out + refused.err
    done = call("run", cwd=tmp_path)
    assert done.code == 0, done.out + done.err
