"""What the blocks of Python of each page are run on: the names and files that the page takes for granted, made small.

A page that is not here is run in an empty folder with nothing prepared. `NOT_RUN` are the pages whose blocks are only
compiled and held against the signatures of what they call, each with its reason; `NOT_READ` the blocks of YAML that are
not read as a study, likewise.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

NOT_RUN = {
    "docs/compare.md": "needs two finished studies; tests/comparison runs compare on such",
    "CONTRIBUTING.md": "needs the reader's own module; tests/contracts runs every one of these functions on newcomers",
}
NOT_READ: dict[str, str] = {}


@dataclass(frozen=True)
class Run:
    """`prepare` writes files into the folder and gives the names that are there; `smaller` is what is put in place of
    a piece of a block that needs a network, weights from a hub, or minutes."""

    prepare: Callable[[Path], dict[str, Any]]
    smaller: dict[str, str] = field(default_factory=dict)


def _networks(folder: Path) -> dict[str, Any]:
    """Two tiny networks, where one began, and batches, as README and the page of weights files speak of them."""
    import torch
    from smoke import nets

    import transferscope as ts

    draw = torch.Generator().manual_seed(0)
    x, y = torch.randn(96, 3, 16, 16, generator=draw), torch.randint(3, (96,), generator=draw)
    batches = list(zip(x.split(32), y.split(32), strict=True))
    made = {}
    for number, name in enumerate(("start", "net_a", "net_b")):
        made[name] = nets.tiny(3).eval()
        made[name].load_state_dict(nets.weights(number, nets.tiny(3)))
    torch.save({"teacher": made["net_a"].state_dict()}, folder / "run.ckpt")
    torch.save(made["net_a"].state_dict(), folder / "a.ckpt")
    torch.save(made["net_b"].state_dict(), folder / "b.pth")
    return {**made, "net": made["net_a"], "batches": batches, "training_batches": batches, "ts": ts}


def _study(folder: Path) -> dict[str, Any]:
    """The smoke study with the analysis transfer, and a folder of images as a study of keywords asks for them."""
    from smoke import study

    study.write(folder)
    study.write(folder / "cells")
    (folder / "study.yaml").write_text(study.text("transfer"), encoding="utf-8")
    return {}


RUNS = {
    "README.md": Run(_networks),
    "docs/weights-files.md": Run(_networks),
    "docs/notebook.md": Run(
        _study,
        {
            '"timm:resnet18"': '"smoke.nets:tiny", image_size=32, seeds=1',
            'pretrained="timm"': 'pretrained="file:weights.safetensors"',
            '{"epochs": 10}': '{"epochs": 1, "lr": 0.05}, resources={"device": "cpu", "executor": "inline"}',
            '["transfer", "tuning"]': '["transfer"]',
        },
    ),
}
