"""What other people's loaders and networks give, to every probe: the right number or one sentence, no other number."""

import copy
import re
from collections import OrderedDict
from collections.abc import Callable
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from probing.asked import LAYERS, PROBES, network
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

import transferscope as ts
from transferscope.errors import UserError
from transferscope.probes.inputs.given import Batch

K, SIZE = 4, 10
DRAW = torch.Generator().manual_seed(0)
Y = torch.randint(0, K, (40,), generator=DRAW)
X = torch.randn(40, 3, 9, 9, generator=DRAW) + Y[:, None, None, None] / 3
A, B = network(1), network(2)


def cut(x: Any, y: Any, size: int = SIZE) -> list[Any]:
    return [(x[i : i + size], y[i : i + size]) for i in range(0, len(x), size)]


def parts(x: Tensor = X, y: Tensor = Y, size: int = SIZE) -> list[tuple[Tensor, Tensor]]:
    return cut(x.double(), y, size)


PLAIN = cut(X, Y)
ONE_HOT = F.one_hot(Y, K)


def spoilt(value: float) -> Tensor:
    x = X.clone()
    x[7, 1, 2, 3] = value
    return x


def check(probe: str, given: Any, truth: Any = None, nets: tuple[nn.Module, nn.Module] = (A, B)) -> None:
    """The probe's number on `given` is the one that slow float64 arithmetic finds on the samples of `truth`."""
    expected = plainly(probe) if truth is None and nets[0] is A else by_hand(probe, truth or parts(), nets)
    np.testing.assert_allclose(PROBES[probe][0](nets[0], nets[1], given), expected, rtol=2e-4, atol=2e-5)


def by_hand(probe: str, truth: Any, nets: tuple[nn.Module, nn.Module]) -> Any:
    ask, slowly, *_ = PROBES[probe]
    if slowly is not None:
        return slowly(nets[0], nets[1], truth)
    wide = [copy.deepcopy(net).float() for net in nets]
    return ask(wide[0], wide[1], [(x.float(), y) for x, y in truth])


@cache
def plainly(probe: str) -> Any:
    """The probe's number on the plain batches."""
    return by_hand(probe, parts(), (network(1), network(2)))


def refuse(probe: str, given: Any, words: str, nets: tuple[Any, Any] = (A, B)) -> None:
    with pytest.raises(UserError, match=words) as refused:
        PROBES[probe][0](nets[0], nets[1], given)
    said = str(refused.value)
    assert "\n" not in said and len(said) < 300 and ": " in said, said


class Items(IterableDataset):
    def __iter__(self) -> Any:
        return iter(PLAIN)


# Labels that can only be meant in one way, as values of PLAIN's: every probe's number is the right one.
MEANT = {
    "one-hot, float": lambda: cut(X, ONE_HOT.float()),
    "one-hot, int": lambda: cut(X, ONE_HOT),
    "one-hot, bool": lambda: cut(X, ONE_HOT.bool()),
    "one-hot, numpy": lambda: cut(X, ONE_HOT.numpy().astype(np.float64)),
    "(n, 1)": lambda: cut(X, Y[:, None]),
    "(n, 1) float": lambda: cut(X, Y[:, None].float()),
    "float": lambda: cut(X, Y.float()),
    "half": lambda: cut(X, Y.half()),
    "bfloat16": lambda: cut(X, Y.bfloat16()),
    "int32": lambda: cut(X, Y.int()),
    "uint8": lambda: cut(X, Y.to(torch.uint8)),
    "numpy": lambda: cut(X, Y.numpy()),
    "column of a data frame": lambda: cut(X, pl.Series(Y.tolist())),
    "list": lambda: cut(X, Y.tolist()),
    "tuple": lambda: cut(X, tuple(Y.tolist())),
    "list of floats": lambda: cut(X, Y.float().tolist()),
    "list of tensors": lambda: cut(X, list(Y)),
    "Batch": lambda: [Batch(x, y) for x, y in PLAIN],
    "x, y, ids": lambda: [(x, y, [f"{i}-{j}" for j in range(SIZE)]) for i, (x, y) in enumerate(PLAIN)],
    "dict of Hugging Face": lambda: [{"pixel_values": x, "labels": y} for x, y in PLAIN],
    "dict of others": lambda: [{"image": x, "label": y, "path": ["p"] * SIZE} for x, y in PLAIN],
    "dict with any name for the images": lambda: [{"band": x, "target": y.tolist()} for x, y in PLAIN],
    "(dict, y)": lambda: [({"pixel_values": x}, y) for x, y in PLAIN],
    "tuple of batches": lambda: tuple(PLAIN),
    "DataLoader": lambda: DataLoader(TensorDataset(X, Y), SIZE),
    "IterableDataset": lambda: Items(),
    "generator": lambda: lambda: iter(PLAIN),
    "float64 images": lambda: cut(X.double(), Y),
    "channels last, not contiguous": lambda: cut(X.to(memory_format=torch.channels_last).flip(3).flip(3), Y),
}


@pytest.mark.parametrize("probe", PROBES)
@pytest.mark.parametrize("kind", MEANT)
def test_what_can_only_be_meant_in_one_way_is_read_so(kind: str, probe: str) -> None:
    check(probe, MEANT[kind]())


# Labels that cannot be right or wrong: refused by every probe that needs them, of no matter to the others.
UNCLEAR: dict[str, tuple[Callable[[], Any], str]] = {
    "-1 for unlabelled": (lambda: cut(X, torch.where(Y == 0, -1, Y)), "labels are below it, down to -1"),
    "-100 for ignored": (lambda: cut(X, torch.where(Y == 0, -100, Y).tolist()), "down to -100"),
    "words": (lambda: cut(X, [f"class {int(v)}" for v in Y]), r"no numbers \('class \d'\)"),
    "numbers as words": (lambda: cut(X, [str(int(v)) for v in Y]), "no numbers"),
    "NaN": (lambda: cut(X, torch.where(Y == 0, torch.nan, Y.float())), "labels are NaN"),
    "soft": (lambda: cut(X, ONE_HOT * 0.9 + 0.025), "probabilities"),
    "regression": (lambda: cut(X, Y + 0.5), "no whole numbers"),
    "masks": (lambda: cut(X, torch.zeros(40, 9, 9)), r"shape \(\d0, 9, 9\)"),
    "counts": (lambda: cut(X, 2 * ONE_HOT), "must be 0 or 1"),
    "none": (lambda: [x for x, _ in PLAIN], "labels"),
    "boxes": (lambda: [(x, [{"boxes": 1}] * SIZE) for x, _ in PLAIN], "labels"),
    "some batches without": (lambda: [PLAIN[0], PLAIN[1][0], *PLAIN[2:]], "labels"),
    "two shapes": (lambda: [*cut(X, ONE_HOT)[:2], *PLAIN[2:]], "different shapes"),
}


@pytest.mark.parametrize("probe", PROBES)
@pytest.mark.parametrize("kind", UNCLEAR)
def test_labels_that_cannot_be_scored_are_one_sentence(kind: str, probe: str) -> None:
    make, words = UNCLEAR[kind]
    needs = PROBES[probe][2]
    if needs or (probe in ("predictions", "penultimate") and kind not in ("none", "boxes")):
        refuse(probe, make(), words)
    else:
        check(probe, make())


@pytest.mark.parametrize("probe", [name for name, (_, _, labels, out) in PROBES.items() if labels and out])
def test_labels_beyond_the_outputs_are_one_sentence(probe: str) -> None:
    if probe == "transferability":  # the outputs are those of another task: only which labels are equal matters
        check(probe, cut(X, Y + 1))
        return
    refuse(probe, cut(X, Y + 1), "run from 1 to 4, but the network tells 4 classes apart, 0 to 3: subtract 1")
    refuse(probe, cut(X, Y * 3), "run from 0 to 9, but the network tells 4 classes apart")
    refuse(probe, cut(X, F.one_hot(Y, 6)), "6 labels a sample, but the network has 4 outputs")


# Batches that no probe can read.
REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "uint8 images": (lambda: cut((X * 50 + 128).clamp(0, 255).to(torch.uint8), Y), "uint8 values"),
    "int64 images": (lambda: cut((X * 50).long(), Y), "int64 values"),
    "bool images": (lambda: cut(X > 0, Y), "bool values"),
    "complex images": (lambda: cut(X.to(torch.complex64), Y), "complex numbers"),
    "sparse images": (lambda: [(x.to_sparse(), y) for x, y in PLAIN], "sparse"),
    "NaN": (lambda: cut(spoilt(torch.nan), Y), r"batch 1.*sample 7 \(from 0\) holds values that are NaN"),
    "infinite": (lambda: cut(spoilt(-torch.inf), Y), r"sample 7 \(from 0\)"),
    "beyond float32": (lambda: cut(torch.where(X.max() == X, 1e300, X.double()), Y), "NaN or infinite"),
    "two views": (lambda: [([x, x + 0.1], y) for x, y in PLAIN], "2 tensors where one is expected"),
    "two views, no labels": (lambda: [(x, x + 0.1) for x, _ in PLAIN], "2 tensors where one is expected"),
    "images not stacked": (lambda: [(list(x), y) for x, y in PLAIN], "10 tensors where one is expected"),
    "a dict of two images": (
        lambda: [{"t1": x, "t2": x, "labels": y} for x, y in PLAIN],
        "it has 't1', 't2', 'labels'",
    ),
    "a dict without images": (
        lambda: [{"text": ["a"] * SIZE, "labels": y} for _, y in PLAIN],
        "it has 'text', 'labels'",
    ),
    "an array": (lambda: X.numpy(), "this is an array"),
    "arrays": (lambda: cut(X.numpy(), Y.numpy()), "not a ndarray"),
    "None": (lambda: None, "None|needed"),
    "a path": (lambda: "images/", "not a str"),
    "a number": (lambda: 3, "not a int"),
    "nothing": (list, "there were none|no images"),
    "None in it": (lambda: [None], "not None"),
    "nothing in it": (lambda: [()], "not a tuple"),
    "no samples in it": (lambda: [(X[:0], Y[:0])], "at least one sample"),
    "words in it": (lambda: ["a"], "not a str"),
    "single images": (lambda: list(TensorDataset(X, Y)), "3 samples but one of the labels"),
    "fewer labels": (lambda: [(x, y[1:]) for x, y in PLAIN], "10 samples but 9 labels"),
    "more labels": (lambda: [(x, [0] * 12) for x, _ in PLAIN], "10 samples but 12 labels"),
    "fewer ids": (lambda: [(x, y, [1]) for x, y in PLAIN], "10 samples but 1 ids"),
    "other channels": (lambda: cut(X[:, :1], Y), "cannot run on .*to have 3 channels"),
    "flat images": (lambda: cut(X.flatten(1), Y), "cannot run on"),
    "tokens": (lambda: cut(Y[:, None].repeat(1, 5), Y), r"cannot run on .*int64"),
}


@pytest.mark.parametrize("probe", PROBES)
@pytest.mark.parametrize("kind", REFUSED)
def test_batches_that_cannot_be_read_are_one_sentence(kind: str, probe: str) -> None:
    make, words = REFUSED[kind]
    if kind == "None" and probe == "average":
        return  # no batches at all: an average can be had without
    if probe == "transferability" and not isinstance(make(), list):
        return  # asked on all but the last batch
    refuse(probe, make(), "there were none|no images|needed" if kind == "nothing" else words)


# One piece in the place of batches: what 64 samples at a time are cut from.
MANY = torch.randn(140, 3, 9, 9, generator=torch.Generator().manual_seed(5))
MANY_LABELS = torch.arange(140) % 4
PIECES: dict[str, Callable[[], Any]] = {
    "a pair of tensors": lambda: (MANY, MANY_LABELS),
    "a list of two tensors": lambda: [MANY, MANY_LABELS],
    "a data set": lambda: TensorDataset(MANY, MANY_LABELS),
    "a data set of dicts": lambda: Rows(MANY, MANY_LABELS),
    "a data set of Hugging Face": lambda: Columns(MANY, MANY_LABELS),
    "a loader": lambda: DataLoader(TensorDataset(MANY, MANY_LABELS), 64),
}


class Rows(Dataset[Any]):
    """Samples as dicts."""

    def __init__(self, x: Tensor, y: Tensor) -> None:
        self.x, self.y = x, y

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, row: int) -> dict[str, Any]:
        return {"pixel_values": self.x[row], "label": int(self.y[row])}


class Columns:
    """What a data set of Hugging Face has in common with it: no torch `Dataset`, and walked sample by sample."""

    column_names = ("pixel_values", "label")

    def __init__(self, x: Tensor, y: Tensor) -> None:
        self.rows = Rows(x, y)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, row: int) -> dict[str, Any]:
        return self.rows[row]


@pytest.mark.parametrize("probe", PROBES)
@pytest.mark.parametrize("kind", PIECES)
def test_what_comes_in_one_piece_is_cut_into_batches(kind: str, probe: str) -> None:
    if probe == "transferability" and kind != "a loader":
        return  # asked on all but the last batch
    check(probe, PIECES[kind](), parts(MANY, MANY_LABELS, 64))


def test_samples_that_cannot_be_stacked_are_one_sentence() -> None:
    ragged = [(torch.randn(3, 9, 9 + row % 2), row % 4) for row in range(8)]

    class Ragged(Dataset[Any]):
        def __len__(self) -> int:
            return len(ragged)

        def __getitem__(self, row: int) -> Any:
            return ragged[row]

    for probe in ("predictions", "similarity", "neighbours", "rewind"):
        refuse(probe, Ragged(), "samples 0 to 7 of the Ragged cannot be stacked")


@pytest.mark.parametrize("probe", [name for name in PROBES if name not in ("mistakes", "grams", "transferability")])
def test_a_used_up_iterator_is_said(probe: str) -> None:
    batches = iter(PLAIN)
    list(batches)
    refuse(probe, batches, "list_iterator can be walked once, and an earlier walk has used this one up")


@pytest.mark.parametrize("probe", PROBES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_batches_and_networks_in_other_types_give_the_number_of_their_values(dtype: torch.dtype, probe: str) -> None:
    given = X.to(dtype)
    check(probe, cut(given, Y), parts(given))
    nets = network(1).to(dtype), network(2).to(dtype)
    before = [copy.deepcopy(net.state_dict()) for net in nets]
    check(probe, cut(given, Y), parts(given), nets)
    for net, state in zip(nets, before, strict=True):
        assert all(t.dtype == state[n].dtype and torch.equal(t, state[n]) for n, t in net.state_dict().items())


def test_a_narrow_network_is_said() -> None:
    half = network(1).bfloat16()
    assert ts.path(half, half, PLAIN, alphas=2).precision == "float32 (network given in bfloat16)"
    assert ts.rewind(half, half, PLAIN, blocks=["4"]).precision == "float32 (network given in bfloat16)"
    assert ts.line_barrier(half, half, PLAIN).precision == "float32 (network given in bfloat16)"
    assert "given in bfloat16" in ts.predictions(half, PLAIN).notes[0]
    assert "given in bfloat16" in ts.similarity(half, A, PLAIN, LAYERS).notes[0]


@pytest.mark.parametrize("probe", PROBES)
@pytest.mark.parametrize("value", [1e4, 1e10, 1e30])
def test_a_sample_far_out_gives_the_right_number_or_one_sentence(value: float, probe: str) -> None:
    x = spoilt(value)
    if value > 1e4:
        refuse(probe, cut(x, Y), r"batch 1.*: sample 7 \(from 0\) reaches 1.0e\+\d\d where others reach")
    else:
        check(probe, cut(x, Y), parts(x))


@pytest.mark.parametrize("probe", PROBES)
@pytest.mark.parametrize("left", [1, 2, 3, 5])
def test_a_short_last_batch(left: int, probe: str) -> None:
    n = 3 * SIZE + left
    truth = parts(X[:n], Y[:n])
    if probe in ("similarity", "similarity_matrix", "grams") and left < 4:
        truth = [*truth[:2], tuple(torch.cat(part) for part in zip(*truth[2:], strict=True))]  # joins the one before
    check(probe, cut(X[:n], Y[:n]), truth)


@pytest.mark.parametrize("probe", PROBES)
def test_images_of_two_sizes(probe: str) -> None:
    wide = torch.randn(20, 3, 13, 11, generator=torch.Generator().manual_seed(1))
    given = [*PLAIN[:2], *cut(wide, Y[20:])]
    if PROBES[probe][2] and probe not in ("wrong", "mistakes", "neighbours", "transferability", "criticality"):
        refuse(probe, given, "differ in size")  # they hold the images of a data set together
    else:
        check(probe, given, [*parts()[:2], *parts(wide, Y[20:])])


class Wrapped(nn.Module):
    """Returns its outputs in something."""

    def __init__(self, net: nn.Module, how: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.net, self.how = net, how

    def forward(self, x: Tensor) -> Any:
        return self.how(self.net(x))


RETURNED: dict[str, tuple[Callable[[Tensor], Any], str]] = {
    "object": (lambda y: SimpleNamespace(out=y, aux=y + 1), r"SimpleNamespace"),
    "dict": (lambda y: OrderedDict(out=y, aux=y + 1), r"OrderedDict with 'out', 'aux'.*net\(x\)\['out'\]"),
    "tuple": (lambda y: (y, y + 1), r"tuple of 2.*net\(x\)\[0\]"),
    "maps": (lambda y: y[:, :, None, None], r"\(\d+, 4, 1, 1\)"),
    "flat": (lambda y: y[:, 0], r"\(\d+,\)"),
    "classes": (lambda y: y.argmax(1, keepdim=True), "int64"),
}


@pytest.mark.parametrize("probe", PROBES)
@pytest.mark.parametrize("kind", RETURNED)
def test_a_network_that_returns_no_tensor_of_outputs_is_named(kind: str, probe: str) -> None:
    how, words = RETURNED[kind]
    if not PROBES[probe][3] or probe == "plane":
        return  # reads layers; has a third network, of another form than the two
    nets = Wrapped(network(1), how), Wrapped(network(2), how)
    with pytest.raises(UserError) as refused:
        PROBES[probe][0](*nets, PLAIN)
    said = str(refused.value)
    assert "\n" not in said
    assert re.search(words, said) or "blocks" in said or "path" in said, said


def test_a_file_that_is_not_there_is_one_sentence() -> None:
    with pytest.raises(UserError, match=r"^distance: b: no file 'a\.ckpt'; file: takes the path of"):
        ts.distance(A, "a.ckpt")


@pytest.mark.parametrize("thing", [None, b"a.ckpt", 3, {"0.weight": torch.zeros(2)}, [A], nn.Linear])
@pytest.mark.parametrize("probe", [*PROBES, "distance", "spectrum", "align"])
def test_what_is_no_network_is_one_sentence(probe: str, thing: Any) -> None:
    ask = PROBES[probe][0] if probe in PROBES else lambda a, b, _: getattr(ts, probe)(a, b)
    for nets in ((thing, B), (A, thing)):
        if nets[0] is A and probe in ("predictions", "wrong", "neighbours", "penultimate", "transferability"):
            continue  # asked of one network
        if nets[0] is A and probe in ("rewind", "criticality") and isinstance(thing, dict):
            continue  # a start may be a state dict
        with pytest.raises(UserError) as refused:
            ask(*nets, PLAIN)
        assert "\n" not in str(refused.value) and "network" in str(refused.value)
