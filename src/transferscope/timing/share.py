"""Sharing: how many runs of one network on one GPU train the most steps a second together, measured once."""

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path

from transferscope import devices
from transferscope.engine.machine import this_machine
from transferscope.errors import UserError
from transferscope.memo import Memo
from transferscope.timing import calibrate
from transferscope.timing.step_time import Question
from transferscope.timing.throughput import Throughput, throughput

log = logging.getLogger(__name__)
VERSION = 1  # raised when old measurements say nothing about the present code
COUNTS = (2, 4, 8)  # tried after 1
PAYS = 1.15  # more processes must take this many times the steps of the fewer before
FULL = 0.8  # of the memory that was free


def sharing(question: Question, memo: Path, image_bytes: int = 0) -> int:
    """Runs that should share a GPU, measured once a store and machine; 1, and one line in the log, on any failure.

    `question.ways` is the one way of computing. Every run needs `image_bytes` of the GPU for its images besides.
    """
    if (most := _most(question)) < 2:
        return 1
    kept, key = _place(question, memo)
    if not (known := _remembered(kept, key)):
        log.info("Measuring how many runs should share a GPU: once for this store, a minute or two.")
        try:
            known = grown(lambda count: throughput(question, count), most)
            kept.first(key, [asdict(one) for one in known])
        except Exception as error:  # nothing that goes wrong here is worth stopping a study
            why = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
            log.info(f"One run a GPU, since it could not be measured whether more pay: {why}")
            return 1
        known = _remembered(kept, key) or known  # another process may have been first
    return best(known, image_bytes)


def remembered(question: Question, memo: Path, image_bytes: int = 0) -> int:
    """What `sharing` would say, without measuring: 1 where nothing is remembered."""
    return 1 if _most(question) < 2 else best(_remembered(*_place(question, memo)), image_bytes)


def grown(measure: Callable[[int], Throughput], most: int) -> list[Throughput]:
    """Throughputs of 1, 2, 4, ... processes up to `most`, as long as the last paid and the next would find memory.

    A failure ends the growth, too; only that of a single process is raised.
    """
    tried = [measure(1)]
    for count in COUNTS:
        if count > most or not _fits(count, tried[-1].memory, tried[0].free):
            break
        try:
            tried.append(measure(count))
        except (UserError, OSError, ValueError):
            break
        if not _pays(tried[-2], tried[-1]):
            break
    return tried


def best(tried: Sequence[Throughput], image_bytes: int = 0) -> int:
    """The most processes that paid and find memory when each of its processes holds `image_bytes` more; else 1."""
    count = 1
    for less, more in pairwise(tried):
        if not (_pays(less, more) and _fits(more.count, more.memory + image_bytes, tried[0].free)):
            break
        count = more.count
    return count


def _pays(less: Throughput, more: Throughput) -> bool:
    return more.rate >= PAYS * less.rate


def _fits(count: int, memory: int, free: int) -> bool:
    return not free or count * memory <= FULL * free  # on a CPU, where nothing is counted, everything fits


def _most(question: Question) -> int:
    """A process a core of a GPU's share of them; 1 where GPUs differ, since one measurement cannot speak for all."""
    machine = this_machine()
    if not devices.on_gpu(question.device) or len(set(machine.gpus)) != 1:
        return 1
    return machine.cores // len(machine.places(question.device))


def _place(question: Question, memo: Path) -> tuple[Memo, str]:
    return Memo(memo / "sharing.json", indent=1), calibrate.key(question, this_machine().cores, VERSION)


def _remembered(kept: Memo, key: str) -> list[Throughput]:
    """What was measured; none where there is no such entry or it is spoilt."""
    with suppress(TypeError, ValueError):
        return [Throughput(**said) for said in kept.read().get(key, [])]
    return []
