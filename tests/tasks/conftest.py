"""A small real table (scikit-learn's digits) and a function that trains on it."""

from pathlib import Path
from typing import Any

import pytest

from transferscope.engine.store import Artifact
from transferscope.engine.work import Work


@pytest.fixture(scope="session")
def digits(tmp_path_factory) -> Artifact:
    """Digits at 12 px cut from 16 px: 300 images or so of the first three classes would do, all are fast enough."""
    pytest.importorskip("sklearn")
    from transferscope.data import build, open_listing

    folder = tmp_path_factory.mktemp("digits")
    build(
        open_listing("digits"),
        folder,
        train_size=16,
        eval_size=12,
        interpolation="bilinear",
        crop=1.0,
        val=0.3,
        test=0.5,
        split_seed=0,
        cores=1,
    )
    return Artifact(folder)


RECIPE: dict[str, Any] = {
    "network": "toy.nets:tiny",
    "arm": "random",
    "weights": None,
    "min_share": None,
    "seed": 0,
    "head_seed": 7,
    "mean": [0.5, 0.5, 0.5],
    "std": [0.5, 0.5, 0.5],
    "epochs": 3,
    "batch_size": 32,
    "lr": 0.1,
    "momentum": 0.9,
    "nesterov": False,
    "weight_decay": 1e-4,
    "schedule": "cosine",
    "milestones": [0.3, 0.6, 0.9],
    "gamma": 0.1,
    "warmup": 0.0,
    "mixup": 0.2,
    "label_smoothing": 0.1,
    "augment": {"scale": [0.5, 1.0], "ratio": [0.75, 1.33], "flip": False, "interpolation": "bilinear"},
    "precision": "float32",
}


@pytest.fixture
def fit(digits, tmp_path):
    """``fit("name", epochs=2, ...)`` trains in a fresh folder and returns (folder, rows)."""
    from transferscope.tasks.train import train

    def run(name: str, *, work: dict[str, Any] | None = None, **changes: Any) -> tuple[Path, list[dict[str, Any]]]:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        bench = Work(folder, **(work or {}))
        return folder, train(data=digits, **{**RECIPE, **changes}, work=bench)

    return run
