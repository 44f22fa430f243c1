"""Labels decided over the whole pass, and what is said of samples, orders and types that nobody asked about."""

import numpy as np
import pytest
import torch
from probing.asked import LAYERS, network
from torch import Tensor, nn
from torch.nn import functional as F

import transferscope as ts
from transferscope.errors import UserError
from transferscope.probes import result
from transferscope.probes.features.penultimate import penultimate
from transferscope.probes.inputs.given import Batch
from transferscope.probes.inputs.labels import read_labels

Y = np.arange(12) % 3
ONE_HOT = np.eye(3)[Y]


def test_one_hot_is_decided_over_the_whole_pass_and_said() -> None:
    read = read_labels(ONE_HOT, 3)
    assert read.values.tolist() == Y.tolist() and "12 rows of labels has exactly one 1 among 3" in read.notes[0]
    one_more = ONE_HOT.copy()
    one_more[7] = 1  # in one row two labels hold: several labels a sample
    assert read_labels(one_more, 3).values.shape == (12, 3) and not read_labels(one_more, 3).notes
    none = ONE_HOT.copy()
    none[7] = 0
    assert read_labels(none, 3).values.shape == (12, 3)
    assert read_labels(ONE_HOT, 3, multilabel=True).values.shape == (12, 3)
    assert not read_labels(ONE_HOT, 3, multilabel=False).notes


def test_one_output_tells_two_classes_and_keeps_a_column() -> None:
    assert read_labels(np.array([0, 1, 1]), 1).values.shape == (3,)
    assert read_labels(np.array([[0.0], [1.0]]), 1).values.shape == (2, 1)
    assert read_labels(np.array([True, False]), 2).values.tolist() == [1, 0]
    with pytest.raises(UserError, match="run from 0 to 2, but the network tells 2 classes apart"):
        read_labels(np.array([0, 2]), 1)


@pytest.mark.parametrize(
    ("labels", "options", "words"),
    [
        (np.eye(2)[[0, 1, 1]], {"outputs": 2}, "two classes or two labels a sample; give class indices"),
        (np.eye(2)[[0, 1, 1]], {}, "two classes or two labels"),
        (
            np.array([1, 2, 3]),
            {"outputs": 3},
            "from 1 to 3, but the network tells 3 classes apart, 0 to 2: subtract 1",
        ),
        (np.array([0, 9]), {"outputs": 3}, "or give a network with an output for every class"),
        (np.array([[0, -1], [1, 1]]), {"outputs": 2}, "must be 0 or 1, but run from -1 to 1"),
        (np.array([0, 1]), {"multilabel": True}, "several labels a sample must be 0 and 1"),
        (np.ones((2, 3)), {"multilabel": False}, "no classes: not every row has exactly one 1"),
        (np.zeros((0,)), {}, "neither classes"),
        (np.array(3), {}, "neither classes"),
        (np.array([None, 1], dtype=object), {}, "no numbers"),
        (np.array([np.inf]), {}, "NaN or infinite"),
    ],
)
def test_what_is_refused(labels: np.ndarray, options: dict[str, object], words: str) -> None:
    with pytest.raises(UserError, match=words):
        read_labels(labels, **options)  # type: ignore[arg-type]


A, B = network(1), network(2)
X = torch.randn(48, 3, 9, 9, generator=torch.Generator().manual_seed(0))
C = torch.randint(0, 4, (48,), generator=torch.Generator().manual_seed(1))
BATCHES = [(X[i : i + 12], C[i : i + 12]) for i in range(0, 48, 12)]


def test_results_say_how_labels_were_read_and_keep_it_when_saved(tmp_path) -> None:
    hot = [(x, F.one_hot(y, 4)) for x, y in BATCHES]
    several = [Batch(x, y, multilabel=True) for x, y in hot]
    both = [ts.predictions(net, hot) for net in (A, B)]
    for found in (
        both[0],
        ts.mistakes(*both),
        ts.neighbours(A, hot, LAYERS),
        ts.path(A, B, hot, alphas=2),
        ts.transferability(A, hot, hot),
    ):
        assert any("one-hot" in note for note in found.notes), found.notes
        found.save(tmp_path / "it.safetensors")
        assert result.load(tmp_path / "it.safetensors").notes == found.notes
    assert ts.predictions(A, several).multilabel and ts.path(A, B, several, alphas=2).metric == "auc"


def test_samples_that_come_twice_are_said() -> None:
    for found in (
        ts.similarity(A, B, [*BATCHES, BATCHES[0]], LAYERS),
        ts.predictions(A, [*BATCHES, BATCHES[0]]),
        ts.path(A, B, [*BATCHES, BATCHES[0]], alphas=2),
        ts.grams(A, [*BATCHES, BATCHES[0]], LAYERS),
        ts.neighbours(A, [*BATCHES, BATCHES[0]], LAYERS),
    ):
        assert any("12 of 60 samples repeat an earlier one" in note for note in found.notes)
    assert not any("repeat" in note for note in ts.similarity(A, B, BATCHES, LAYERS).notes)
    shared = ts.transferability(A, BATCHES, BATCHES[:1]).notes
    assert "12 of the 12 held-out samples are also among the training ones" in shared[-1]


def test_sorted_batches_are_refused_whatever_form_their_labels_have_and_unknown_ones_are_said() -> None:
    order = C.argsort()
    for y in (C, C[:, None], F.one_hot(C, 4).float(), C.double(), C + 5):
        given = [(X[order][i : i + 12], y[order][i : i + 12]) for i in range(0, 48, 12)]
        with pytest.raises(UserError, match="sorted by class"):
            ts.similarity(A, B, given, LAYERS)
        with pytest.raises(UserError, match="sorted by class"):
            ts.grams(A, given, LAYERS)
    words = [f"class {v}" for v in C[order].tolist()]
    with pytest.raises(UserError, match="sorted by class"):
        ts.similarity(A, B, [(X[order][i : i + 12], words[i : i + 12]) for i in range(0, 48, 12)], LAYERS)
    bare = [x for x, _ in BATCHES]
    assert "nothing could tell whether they are shuffled" in ts.similarity(A, B, bare, LAYERS).notes[0]
    assert not ts.similarity(A, B, bare, LAYERS, estimator="biased").notes
    assert not ts.similarity(A, B, bare[:1], LAYERS).notes
    short = ts.similarity(A, B, [*bare, X[:2] + 1], LAYERS)
    assert any("short: its 2 joined" in note for note in short.notes) and short.batches == 4 and short.samples == 50


def test_a_loader_that_shuffles_anew_is_noticed_where_two_passes_are_compared() -> None:
    data = torch.utils.data.TensorDataset(X, C)
    loader = torch.utils.data.DataLoader(data, 12, shuffle=True, generator=torch.Generator().manual_seed(0))
    with pytest.raises(UserError, match=r"the same samples in different orders.*shuffle=False"):
        ts.mistakes(ts.predictions(A, loader), ts.predictions(B, loader))
    with pytest.raises(UserError, match="on other samples"):
        ts.grams(A, loader, LAYERS).similarity(ts.grams(B, loader, LAYERS))
    with pytest.raises(
        UserError, match=r"differs from pass to pass \(its sampler is a RandomSampler: shuffle=False keeps one order\)"
    ):
        ts.neighbours(A, loader, LAYERS, memory=1)


class Restless(nn.Module):
    """Drops out always, whatever its flags say."""

    def __init__(self, net: nn.Sequential) -> None:
        super().__init__()
        self.body, self.head = net[:4], net[4]

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(F.dropout(self.body(x), 0.5, training=True))
        return out


@pytest.mark.parametrize(
    "ask",
    [
        lambda net: ts.predictions(net, BATCHES).logits,
        lambda net: penultimate(net, BATCHES).features,
        lambda net: ts.transferability(net, BATCHES, BATCHES).logme,
        lambda net: ts.similarity(net, net, BATCHES, ["head"]).stderr,
        lambda net: ts.neighbours(net, BATCHES, ["head"]).accuracy,
        lambda net: ts.path(net, net, BATCHES, alphas=3).loss,
        lambda net: ts.rewind(net, net, BATCHES).score,
        lambda net: ts.average([net, net], BATCHES).single_loss,
    ],
)
def test_dropout_that_is_always_on_draws_alike_in_every_call(ask) -> None:
    state = torch.get_rng_state()
    np.testing.assert_array_equal(ask(Restless(network(1))), ask(Restless(network(1))))
    assert torch.equal(state, torch.get_rng_state())
