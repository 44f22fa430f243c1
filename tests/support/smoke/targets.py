"""Small studies of signals whose target is no class: two numbers, grades, or labels that are not all known."""

import json
from pathlib import Path
from typing import Any

import numpy as np

TARGETS: dict[str, dict[str, Any]] = {
    "numbers": {"ref": "npz:numbers.npz", "task": "regression"},
    "grades": {"ref": "npz:grades.npz", "task": "ordinal"},
    "gaps": {"ref": "npz:gaps.npz", "blank": "ignore"},
}
OUTPUTS = {"numbers": 2, "grades": 4, "gaps": 3}
SMALL = {"images": 24, "statistics": 16}
# Every analysis that makes sense of numbers, as quick as it can be.
ANALYSES: dict[str, dict[str, Any]] = {
    "transfer": {},
    "mistakes": {},
    "similarity": {},
    "distance": {},
    "spectrum": {},
    "shuffle": {"blocks": [1, 8], "seeds": 1},
    "reuse": {"at": [1]},
    "labels": {"fractions": [0.25, 1.0]},
    "tuning": {"top": [2], "rates": [1], "head_rates": [1]},
    "barrier": {**SMALL, "alphas": 3, "align": True},
    "basin": {**SMALL, "samples": 4, "draws": 2, "per_weight": [0.01, 0.1], "limit": 0.2},
    "average": {**SMALL, "steps": 2},
    "spawn": {**SMALL, "alphas": 3, "arms": ["random"], "epochs": [0]},
    "rewind": {"checkpoints": "none", "redraw": "none"},
    "checkpoint": {"images": 24, "alphas": 3, "seeds": 1},
    "choose": {},
}
TEXT = """\
name: KIND
input: arrays
targets: {signals: TARGET}
network: newcomers.series:small
pretrained: {series: [w_1.safetensors, w_2.safetensors]}
seeds: 2
recipe: {epochs: 3, batch_size: 16, lr: {random: [0.01, 0.05], pretrained: 0.02}, precision: float32, evaluate: 24}
analyses: ANALYSES
resources: {device: cpu, executor: inline}
"""


def write(
    folder: Path, kind: str = "numbers", analyses: dict[str, dict[str, Any]] | None = None, **target: Any
) -> Path:
    """Signals, weights and the study file of a kind of `TARGETS`; `target` says more of it. The path of the file."""
    from safetensors.torch import save_file

    from transferscope.models.build import build_network

    folder.mkdir(parents=True, exist_ok=True)
    signals(folder)
    for number in (1, 2):
        net = build_network("newcomers.series:small", OUTPUTS[kind], seed=1000 + number)
        save_file(net.state_dict(), folder / f"w_{number}.safetensors")
    said = {"TARGET": {**TARGETS[kind], **target}, "ANALYSES": ANALYSES if analyses is None else analyses}
    text = TEXT.replace("KIND", kind)
    for word, value in said.items():
        text = text.replace(word, json.dumps(value))
    (folder / "study.yaml").write_text(text, encoding="utf-8")
    return folder / "study.yaml"


def signals(folder: Path) -> None:
    """160 signals of two channels, by their size and their rate: as numbers, as grades, and as labels with gaps."""
    draw, count, steps = np.random.default_rng(0), 160, np.arange(48)
    size, rate = draw.uniform(0.5, 2, count), draw.uniform(1, 6, count)
    turns = 2 * np.pi * rate[:, None] * steps / 48 + draw.uniform(0, 6, (count, 1))
    x = size[:, None, None] * np.stack([np.sin(turns), np.cos(turns)], 1) + 0.2 * draw.standard_normal((count, 2, 48))
    x = x.astype(np.float32)
    np.savez(folder / "numbers.npz", x=x, y=np.stack([40 + 10 * size, 1000 * rate], 1))
    np.savez(folder / "grades.npz", x=x, y=np.digitize(size, [0.9, 1.3, 1.7]))
    labels = np.stack([size > 1.2, rate > 3, size * rate > 4], 1).astype(float)
    labels[draw.random(labels.shape) < 0.2] = np.nan
    np.savez(folder / "gaps.npz", x=x, y=labels)
