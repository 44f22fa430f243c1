"""A small real table (scikit-learn's digits), a function that trains on it, and one that kills such runs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from transferscope.engine.artifact import Artifact
from transferscope.engine.task_context import Interrupted, Work


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
        return folder, train(**{"data": digits, **RECIPE, **changes}, work=bench)

    return run


class _StopAfter:
    """Asks to stop after so many batches."""

    def __init__(self, batches: int) -> None:
        self.left = batches

    def __call__(self) -> bool:
        self.left -= 1
        return self.left <= 0


@pytest.fixture
def unhurried(fit) -> Callable[..., None]:
    """``unhurried(4, epochs=2, ...)``: a run that is asked to stop after 4 batches, again and again, and taken up again
    until it ends, ends in the rows and bytes of one that is left alone, and leaves no save behind."""

    def same(every: int, **recipe: Any) -> None:
        straight, rows = fit("straight", **recipe)
        stops = 0
        while True:
            try:
                folder, again = fit("stopped", work={"stopping": _StopAfter(every)}, **recipe)
                break
            except Interrupted:
                stops += 1
        assert stops >= 2
        assert again == rows
        assert written(folder) == written(straight)
        assert not list(folder.glob("resume*"))

    return same


class Killed(BaseException):
    """As `kill -9`: raised from inside, so that nothing is saved on the way out."""


def written(folder: Path) -> dict[str, bytes]:
    """What a run leaves that must be a pure function of its parameters, by file."""
    return {f.name: f.read_bytes() for f in [*folder.glob("*.safetensors"), folder / "run.json"]}


@pytest.fixture
def unbroken(fit, monkeypatch) -> Callable[..., tuple[Path, list[dict[str, Any]]]]:
    """``unbroken("_batch", 5, epochs=2, ...)``: (folder, rows) of a run that is left alone.

    One that is killed after the first call of a method of the loop and every fifth from there, saving wherever it may,
    and begun again until it ends, ends in the same bytes and rows.
    """
    from transferscope.tasks import loop

    def same(method: str, every: int, least: int = 2, **recipe: Any) -> tuple[Path, list[dict[str, Any]]]:
        straight, rows = fit("straight", **recipe)
        original, calls = getattr(loop._Run, method), []

        def dies(self, *arguments: Any) -> None:
            original(self, *arguments)
            calls.append(1)
            if len(calls) % every == 1:
                raise Killed

        with monkeypatch.context() as patch:
            patch.setattr(loop, "SAVE_EVERY", 0.0)
            patch.setattr(loop._Run, method, dies)
            for _ in range(200):
                try:
                    folder, again = fit("killed", **recipe)
                    break
                except Killed:
                    continue
        assert len(calls) >= least, "it was killed again and again"
        assert again == rows and written(folder) == written(straight)
        return straight, rows

    return same
