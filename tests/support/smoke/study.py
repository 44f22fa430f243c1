"""The smoke study: 120 generated images, a tiny network, weights of another seed, two arms, two seeds, two epochs."""

import json
import shutil
import struct
from pathlib import Path
from typing import Any

from smoke import images, nets

TEXT = """\
name: smoke
targets: {shapes: "folder:images"}
network: smoke.nets:tiny
pretrained: file:weights.safetensors
image_size: 32
arms: [random, pretrained]
seeds: 2
recipe: {epochs: 2, batch_size: 16, lr: 0.05, augment: {scale: [0.5, 1.0]}, precision: float32, evaluate: 16}
analyses: ANALYSES
resources: {slots: 2, device: cpu}
"""


# What makes an analysis quick on so small a study; the others run with their defaults.
OPTIONS: dict[str, dict[str, Any]] = {
    "shuffle": {"blocks": [8], "seeds": 1},
    "reuse": {"at": [1]},
    "labels": {"fractions": [0.5, 1.0]},
    "tuning": {"top": [2], "rates": [1], "head_rates": [1]},
    "barrier": {
        "images": 24,
        "statistics": 16,
        "alphas": 5,
        "same_init": True,
        "align": True,
        "batch_norm": ["refresh", "average"],
    },
    "spawn": {"images": 24, "statistics": 16, "alphas": 3, "arms": ["random"]},
    "basin": {"samples": 4, "draws": 2, "per_weight": [0.01, 0.1], "images": 24, "statistics": 16, "limit": 0.2},
    "average": {"steps": 3, "images": 24, "statistics": 16},
    "crossdomain": {"points": 3, "images": 24, "statistics": 16},
    "checkpoint": {"images": 24, "alphas": 3, "seeds": 1},
}


def text(*names: str) -> str:
    """The study with the named analyses, or with all there are."""
    from transferscope import analyses

    return TEXT.replace("ANALYSES", json.dumps({name: OPTIONS.get(name, {}) for name in names or analyses.names()}))


def write(folder: Path) -> Path:
    """Images, weights and the study file below `folder`; nothing is run. The path of the file."""
    from safetensors.torch import save_file

    images.write(folder / "images")
    save_file(nets.weights(seed=1), folder / "weights.safetensors")
    (folder / "study.yaml").write_text(text(), encoding="utf-8")
    return folder / "study.yaml"


def inputs(source: Path, folder: Path) -> Path:
    """What `write` wrote below `source`, copied to a `folder` that knows of no results."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copytree(source / "images", folder / "images")
    for name in ("weights.safetensors", "study.yaml"):
        shutil.copy(source / name, folder / name)
    return folder


def numbers(folder: Path) -> dict[str, bytes]:
    """Every file below `folder` whose bytes must be a pure function of the study: weights, tables, results."""
    found = {}
    for pattern in ("store/*/*/*.safetensors", "store/*/*/rows.json", "tables/*.csv"):
        found |= {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.glob(pattern)}
    return found | {"results.json": (folder / "results.json").read_bytes()}


def assert_alike(here: Path, there: Path) -> None:
    """The same study was computed twice and came to the same bytes, whoever did its steps."""
    from transferscope import battery
    from transferscope.study import Study

    assert (here / "results.json").read_bytes() == (there / "results.json").read_bytes()
    plan, store = battery.plan(Study.load(there / "study.yaml"))
    other = battery.plan(Study.load(here / "study.yaml"))[1]
    for step in plan.steps:
        ours, theirs = other.get(step).path, store.get(step).path
        for name in ("rows.json", "final.safetensors"):
            if (theirs / name).exists():
                assert (ours / name).read_bytes() == (theirs / name).read_bytes(), (step.task, name)


def times(folder: Path) -> dict[str, int]:
    """When each file of the finished steps was last written."""
    files = [path for path in (folder / "store").glob("[!.]*/*/*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.stat().st_mtime_ns for path in files}


def progress(folder: Path) -> list[tuple[int, int]]:
    """(epochs finished, batches of the next) of every half-finished training run's last save."""
    found = []
    for path in (folder / "store" / ".scratch").glob("train-*/resume.safetensors"):
        try:
            with path.open("rb") as file:
                (length,) = struct.unpack("<Q", file.read(8))
                said = json.loads(json.loads(file.read(length))["__metadata__"]["progress"])
        except (OSError, struct.error, ValueError):
            continue  # just replaced or removed
        found.append((said["epoch"], said["batch"]))
    return found
