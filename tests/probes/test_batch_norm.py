"""One vocabulary for batch norm's statistics: what each probe takes, what it refuses, and what its result says."""

from collections.abc import Callable
from typing import Any, get_args

import numpy as np
import pytest
import torch
from torch import nn

import transferscope as ts
from transferscope.errors import UserError
from transferscope.probes.batch_norm import WORDS, BatchNorm, OfBlocks, OfLine, known, statistics_words

DRAW = torch.Generator().manual_seed(0)
X, Y = torch.randn(20, 3, 4, 4, generator=DRAW), torch.randint(0, 3, (20,), generator=DRAW)
BATCHES = [(X, Y)]
LITTLE: dict[str, Any] = {"alphas": 2, "sigmas": 2, "draws": 2}


def network(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3))
    net.train()(2 * X + seed)
    return net


A, B, C = (network(i) for i in range(3))
PROBES: dict[str, tuple[Any, Callable[..., Any]]] = {
    "average": ("mixture", lambda how: ts.average([A, B], BATCHES, batch_norm=how)),
    "average, unseen": ("mixture", lambda how: ts.average([A, B], statistics=BATCHES, batch_norm=how)),
    "basin": ("mixture", lambda how: ts.basin(A, B, BATCHES, samples=3, draws=2, limit=0.1, batch_norm=how)),
    "criticality": ("blocks", lambda how: ts.criticality(A, B, BATCHES, **LITTLE, batch_norm=how)),
    "layerwise_barrier": ("blocks", lambda how: ts.layerwise_barrier(A, B, BATCHES, alphas=3, batch_norm=how)),
    "line_barrier": ("line", lambda how: ts.line_barrier(A, B, BATCHES, tolerance=0.2, batch_norm=how)),
    "path": ("line", lambda how: ts.path(A, B, BATCHES, alphas=3, batch_norm=how)),
    "plane": ("mixture", lambda how: ts.plane(A, B, C, BATCHES, steps=2, margin=0, batch_norm=how)),
    "rewind": ("blocks", lambda how: ts.rewind(A, B, BATCHES, batch_norm=how)),
    "wise_ft": ("mixture", lambda how: ts.wise_ft(A, B, BATCHES, alphas=2, batch_norm=how)),
}
SAID = {
    "mixture": {"refresh": "refresh", "as found": "as given"},
    "blocks": {
        "refresh": "re-estimated everywhere, on 20 of the images of 'data' that are scored",
        "as found": "as found",
    },
    "line": {
        "refresh": "re-estimated at every alpha, the ends too, on 20 of the images of 'data' that are scored",
        "average": "interpolated with the weights",
        "first": "those of network a at every alpha, the ends too",
        "last": "those of network b at every alpha, the ends too",
    },
}


@pytest.mark.parametrize("probe", PROBES)
def test_each_probe_takes_its_words_and_refuses_others(probe):
    of, ask = PROBES[probe]
    assert set(WORDS[of]) == set(SAID[of])
    for word, said in SAID[of].items():
        found = ask(word).batch_norm
        assert found == (said if probe != "criticality" else found) and ("20" in found) == ("20" in said)
    others = ({"refresh", "as found", "average", "first", "last", "none"} - set(WORDS[of])) | {"none"}
    for word in [*sorted(others), None, 3, ["refresh"]]:
        with pytest.raises(UserError, match=r"^batch_norm: '.*' is (neither|none of) 'refresh'[^\n]*\.$"):
            ask(word)


@pytest.mark.parametrize("probe", [probe for probe, (of, _) in PROBES.items() if of != "line"])
def test_the_older_word_means_the_same(probe):
    ask = PROBES[probe][1]
    one, other = vars(ask("as found")), vars(ask("as given"))
    for name, value in one.items():
        if isinstance(value, np.ndarray | float):
            np.testing.assert_array_equal(value, other[name], err_msg=name)
    assert one["batch_norm"] == other["batch_norm"]


def test_the_sentence_and_networks_without():
    with pytest.raises(UserError, match=r"'as given' is none of 'refresh', 'average', 'first' and 'last'\.$"):
        known("line", "as given")
    with pytest.raises(UserError, match=r"'last' is neither 'refresh' nor 'as found'\.$"):
        known("blocks", "last")
    assert [statistics_words(of, "refresh", False) for of in WORDS] == [
        "the network has no batch norm",
        "none",
        "none in the network",
    ]


def test_a_study_may_say_what_the_probe_takes():
    assert set(get_args(OfLine)) == set(WORDS["line"]) and set(get_args(OfBlocks)) == set(WORDS["blocks"])
    assert set(get_args(BatchNorm)) == {word for words in WORDS.values() for word in words} | {"as given"}
