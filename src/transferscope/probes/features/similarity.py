"""CKA of every layer of one network against every layer of another, of many networks, in one pass over the data."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from transferscope.errors import UserError, a_kind
from transferscope.measures.cka import CKA, SMALLEST, FullCKA, MinibatchCKA
from transferscope.measures.gram import Kernel
from transferscope.measures.mixing import unshuffled
from transferscope.probes.features.gathering import MEMORY, gathered
from transferscope.probes.features.layers import Layers, Pool
from transferscope.probes.features.maps import Similarity, SimilarityMatrix
from transferscope.probes.features.tap import How, Tap
from transferscope.probes.inputs.labels import kinds
from transferscope.probes.inputs.samples import Order, Supply
from transferscope.probes.running import Mode, precision_notes, same_device, undisturbed
from transferscope.probes.weights.combine import Net, built

Array = NDArray[np.float64]
Estimator = Literal["unbiased", "biased", "unbiased-full"]
UNSEEN = (
    "No class labels came with the batches, so nothing could tell whether they are shuffled: batches sorted by class "
    "make a minibatch estimate too low."
)
ESTIMATORS = ("unbiased", "biased", "unbiased-full")


def similarity(
    net_a: Net,
    net_b: Net,
    batches: Iterable[Any],
    layers: Layers = "blocks",
    pool: Pool = None,
    estimator: Estimator = "unbiased",
    kernel: Kernel = "linear",
    *,
    layers_b: Layers | None = None,
    bandwidth: float = 1.0,
    mode: Mode = "eval",
    precision: str = "float32",
    seed: int = 0,
    memory: int = MEMORY,
    like: nn.Module | None = None,
) -> Similarity:
    """CKA of every layer of `net_a` against every layer of `net_b`; both networks see each batch once.

    Weights files and state dicts stand where networks do, with the form of `like`, else of the other network.

    `batches` are tensors (n, ...) or tuples (x, labels, ...), of any length but n >= 4 each (a last one that is shorter
    joins the one before). `layers` (and `layers_b`,
    if other names are wanted of b) is as in `layers.wanted`, `pool` as in `layers.pooled`.

    `estimator`: "unbiased" is minibatch CKA (Nguyen et al. 2021, eqs. 2-3), one pass in memory that does not depend on
    the number of samples, with a standard error by jackknife over batches; batches must be shuffled. "biased"
    (Kornblith et al. 2019) and "unbiased-full" compare all samples at once: exact, both in the same work (the one not
    asked for is `other`), in as many passes as `memory` bytes of activations demand, plus layers x samples^2 / 2
    floats. `kernel` "rbf" takes `bandwidth` as a fraction of the median distance.

    Networks are run in eval mode unless `mode` is "as found", in `precision` "float32" or "bfloat16"; flags, buffers
    and random state are as found afterwards. Raises UserError for batches that are too small or sorted by class, and
    for layers that cannot be read (see `features.Tap`).
    """
    how = How(pool, mode, precision, seed)
    nets = built("similarity", {"a": net_a, "b": net_b}, like)
    if net_a is net_b and layers_b is None:  # one network against itself runs once
        return _measured({"a": nets["a"]}, [layers], batches, how, estimator, kernel, bandwidth, memory).pair(0, 0)
    wanted = [layers, layers if layers_b is None else layers_b]
    return _measured(nets, wanted, batches, how, estimator, kernel, bandwidth, memory).pair(0, 1)


def similarity_matrix(
    nets: Sequence[Net] | Mapping[str, Net],
    batches: Iterable[Any],
    layers: Layers = "blocks",
    pool: Pool = None,
    estimator: Estimator = "unbiased",
    kernel: Kernel = "linear",
    *,
    bandwidth: float = 1.0,
    mode: Mode = "eval",
    precision: str = "float32",
    seed: int = 0,
    memory: int = MEMORY,
    like: nn.Module | None = None,
) -> SimilarityMatrix:
    """CKA of all layers of all `nets` (a list, or a mapping from name to network), each network run once a batch.

    Arguments and errors as for `similarity`: k networks cost k forward passes, not k (k - 1).
    """
    if isinstance(nets, str | Path | nn.Module) or not isinstance(nets, Mapping | Iterable):
        raise UserError(
            f"similarity_matrix: give a list of networks, or a mapping from name to network, not {a_kind(nets)}."
        )
    named = dict(nets) if isinstance(nets, Mapping) else {str(i): net for i, net in enumerate(nets)}
    if not named:
        raise UserError("networks: there are none to compare.")
    how = How(pool, mode, precision, seed)
    made = built("similarity_matrix", named, like)
    return _measured(made, [layers] * len(named), batches, how, estimator, kernel, bandwidth, memory)


def _measured(
    nets: Mapping[str, nn.Module],
    layers: Sequence[Layers],
    batches: Iterable[Any],
    how: How,
    estimator: Estimator,
    kernel: Kernel,
    bandwidth: float,
    memory: int,
) -> SimilarityMatrix:
    if estimator not in ESTIMATORS:
        raise UserError(f"estimator: '{estimator}' is none of {', '.join(ESTIMATORS)}.")
    modules, narrow = list(nets.values()), precision_notes(nets)
    same_device(modules)
    with undisturbed(modules, how.mode):
        supply = Supply(batches, SMALLEST if estimator == "unbiased" else 1)
        taps = [Tap(net, wanted, how, supply.first.x) for net, wanted in zip(modules, layers, strict=True)]
        names = [f"{name}/{slot.name}" for name, tap in zip(nets, taps, strict=True) for slot in tap.slots]
        if estimator == "unbiased":
            found, other = _minibatch(taps, names, supply, kernel, bandwidth), None
            narrow += unmixed(supply.order)
        else:
            biased, exact = _full(taps, names, supply, kernel, bandwidth, memory)
            found, other = (biased, exact.matrix) if estimator == "biased" else (exact, biased.matrix)
    layers_of = [tuple(slot.name for slot in tap.slots) for tap in taps]
    notes = (*narrow, *supply.notes)
    return as_matrix(found, tuple(nets), layers_of, [tap.skipped for tap in taps], how.words, other, notes)


def as_matrix(
    found: CKA,
    networks: tuple[str, ...],
    layers: Sequence[tuple[str, ...]],
    skipped: Sequence[tuple[str, ...]],
    pool: str,
    other: Array | None = None,
    notes: tuple[str, ...] = (),
) -> SimilarityMatrix:
    """A map over the layers of all networks one after another, as the probe's result."""
    starts = np.cumsum([0, *map(len, layers)])
    return SimilarityMatrix(
        matrix=found.matrix,
        stderr=found.stderr,
        other=np.zeros((0, 0)) if other is None else other,
        networks=networks,
        layers=tuple(layers),
        samples=found.samples,
        batches=found.batches,
        estimator=found.estimator,
        pool=pool,
        undefined=tuple(
            tuple(name for i, name in enumerate(names) if not found.defined[start + i])
            for names, start in zip(layers, starts[:-1], strict=True)
        ),
        skipped=tuple(skipped),
        notes=notes,
    )


def _minibatch(taps: Sequence[Tap], names: Sequence[str], supply: Supply, kernel: Kernel, bandwidth: float) -> CKA:
    with refused():
        cka = MinibatchCKA(names, kernel, bandwidth)
    starts = np.cumsum([0, *(len(tap.slots) for tap in taps)])
    for number, batch in enumerate(supply):
        for start, tap in zip(starts, taps, strict=False):
            tap.run(batch.x, putter(cka, int(start), number), None, number)
        with refused(number):
            cka.step()
    return cka.result()


def putter(cka: MinibatchCKA, start: int, number: int = 0) -> Callable[[int, Tensor], None]:
    """What takes the features of a network whose first layer has number `start` in the accumulator."""

    def put(slot: int, features: Tensor) -> None:
        with refused(number):
            cka.put(start + slot, features)

    return put


def unmixed(order: Order) -> tuple[str, ...]:
    """Raise UserError where classes are known and the batches look sorted by them; a note where none are known."""
    if len(order.seen) < 2:
        return ()
    classes = kinds(order.batch_labels)
    if classes is None:
        return (UNSEEN,)
    if sentence := unshuffled(classes, [len(part) for part in order.seen]):
        raise UserError(f"batches: {sentence[0].lower()}{sentence[1:-1]} (estimator='unbiased-full').")
    return ()


def _full(
    taps: Sequence[Tap], names: Sequence[str], supply: Supply, kernel: Kernel, bandwidth: float, memory: int
) -> tuple[CKA, CKA]:
    order = [(t, slot) for t, tap in enumerate(taps) for slot in range(len(tap.slots))]
    cka: FullCKA | None = None
    for whole in gathered(taps, supply, order, memory):
        with refused():
            cka = cka or FullCKA(names, sum(map(len, whole.chunks)), kernel, bandwidth)
            cka.put(whole.place, whole.chunks)
    assert cka is not None
    with refused():
        return cka.result()


@contextmanager
def refused(number: int | None = None) -> Iterator[None]:
    """What a measure refuses (in batch `number`, from 0) as a sentence for the user."""
    try:
        yield
    except ValueError as error:
        where = "similarity" if number is None else f"batches: batch {number + 1}"
        raise UserError(f"{where}: {error}") from None
