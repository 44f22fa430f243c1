"""Whatever stands where a network, weights or batches should: one sentence from every public function."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from probing.asked import network
from torch import nn

import transferscope as ts
from transferscope.errors import UserError

A, B = network(1), network(2)
X, Y = torch.randn(16, 3, 9, 9, generator=torch.Generator().manual_seed(0)), torch.arange(16) % 4
BATCHES = [(X[:8], Y[:8]), (X[8:], Y[8:])]
ODD = {
    "None": None,
    "a number": 3,
    "a word": "nofile",
    "a path": Path("nofile.pt"),
    "nothing": [],
    "an empty dictionary": {},
    "several things": [A, 3, "nofile"],
    "an array": np.zeros(3),
    "a class": nn.Linear,
}
Ask = Callable[..., Any]
# Of every public function what it is asked, one argument after another being odd.
CALLS: dict[str, tuple[Ask, tuple[Any, ...]]] = {
    "align": (ts.align, (A, B)),
    "average": (lambda a, batches: ts.average(a, batches), ([A, B], BATCHES)),
    "basin": (lambda *given: ts.basin(*given, samples=2, draws=2), (A, B, BATCHES)),
    "compare": (ts.compare, (["nofile", "nofile"],)),
    "criticality": (lambda *given: ts.criticality(*given, alphas=2, sigmas=2, draws=2), (A, B, BATCHES)),
    "distance": (ts.distance, (A, B)),
    "grams": (ts.grams, (A, BATCHES)),
    "Study": (lambda *given: ts.Study(targets=given[0], network=given[1]), ("digits", "timm:resnet18")),
    "layerwise_barrier": (lambda *given: ts.layerwise_barrier(*given, alphas=3), (A, B, BATCHES)),
    "line_barrier": (lambda *given: ts.line_barrier(*given, tolerance=0.5), (A, B, BATCHES)),
    "load": (ts.load, ("nofile",)),
    "mistakes": (ts.mistakes, (torch.zeros(16, 4), torch.zeros(16, 4), Y)),
    "neighbours": (ts.neighbours, (A, BATCHES)),
    "path": (lambda *given: ts.path(*given, alphas=3), (A, B, BATCHES)),
    "penultimate": (ts.penultimate, (A, BATCHES)),
    "plane": (lambda *given: ts.plane(*given, steps=3), (A, B, network(3), BATCHES)),
    "predictions": (ts.predictions, (A, BATCHES)),
    "procrustes": (ts.procrustes, (A, B, BATCHES)),
    "read_weights": (lambda source, like: ts.read_weights(source, like=like), (A.state_dict(), A)),
    "rewind": (ts.rewind, (A, B, BATCHES)),
    "similarity": (ts.similarity, (A, B, BATCHES)),
    "similarity_matrix": (ts.similarity_matrix, ([A, B], BATCHES)),
    "spectrum": (ts.spectrum, (A, B)),
    "transferability": (ts.transferability, (A, BATCHES, BATCHES)),
    "wise_ft": (lambda *given: ts.wise_ft(*given, alphas=3), (A, B, BATCHES)),
}
RUN = ("grams", "neighbours", "penultimate", "predictions", "procrustes", "similarity", "transferability")
MEANT = {  # places in which what is odd elsewhere has a meaning: no second network, no batches, no labels
    ("spectrum", 1, "None"),
    ("average", 1, "None"),
    ("average", 1, "an empty dictionary"),
}


def test_every_public_function_is_asked() -> None:
    assert sorted(CALLS) == sorted(name for name in ts.__all__ if name != "__version__")


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("name", CALLS)
def test_one_sentence(name: str, odd: str) -> None:
    ask, given = CALLS[name]
    for place in range(len(given)):
        if (name, place, odd) in MEANT:
            continue
        wrong = [*given[:place], ODD[odd], *given[place + 1 :]]
        with pytest.raises(UserError) as error:
            ask(*wrong)
        said = str(error.value)
        assert "\n" not in said and said.endswith((".", "?")), (name, place, said)


@pytest.mark.parametrize("name", [*RUN, "similarity_matrix"])
def test_networks_in_files_are_run_as_networks_are(name: str, tmp_path: Path) -> None:
    """A path, a dictionary as a file holds it, and a state dict, beside a network or with one that lends its form."""
    ask, given = CALLS[name]
    torch.save({"state_dict": {f"module.{n}": t for n, t in A.state_dict().items()}}, tmp_path / "a.ckpt")
    wanted = _numbers(ask(*given))
    several = name == "similarity_matrix"
    kept = {n: t.clone() for n, t in B.state_dict().items()}
    for one in (str(tmp_path / "a.ckpt"), tmp_path / "a.ckpt", dict(A.state_dict())):
        asked = ([one, B], *given[1:]) if several else (one, *given[1:])
        assert _same(_numbers(ask(*asked, like=B)), wanted)
        if several or given[1] is B:
            assert _same(_numbers(ask(*asked)), wanted), "the other network lends its form"
        else:
            with pytest.raises(UserError, match=rf"^{name}: net is a (weights file|state dict); give like=NETWORK"):
                ask(*asked)
    assert all(torch.equal(t, kept[n]) for n, t in B.state_dict().items())


@pytest.mark.parametrize("name", RUN)
def test_weights_without_a_head_are_no_network(name: str) -> None:
    ask, given = CALLS[name]
    body = {n: t for n, t in A.state_dict().items() if not n.startswith("4.")}
    with pytest.raises(UserError, match=rf"^{name}: '4.weight' is .* and missing in "):
        ask(body, *given[1:], like=B)
    with pytest.raises(UserError, match=rf"^{name}: like is a dict, not a network"):
        ask(*given, like=body)


def test_every_probe_of_networks_takes_a_form() -> None:
    for name in set(CALLS) - {"Study", "compare", "load", "mistakes"}:
        assert "like" in inspect.signature(getattr(ts, name)).parameters, name


def _numbers(found: Any) -> dict[str, np.ndarray]:
    return {n: v for n, v in vars(found).items() if isinstance(v, np.ndarray) and v.dtype.kind == "f"}


def _same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(v, other[n], equal_nan=True) for n, v in one.items())
