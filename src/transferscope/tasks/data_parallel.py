"""Data parallelism: one run trained by several processes of a machine, each with its share of the rows of every batch.

Number 0 is the worker that has the step. It starts the others, evaluates, saves, and has the optimiser; they add their
gradients to its own and take its weights after every update. They touch no file of the run and end with it.
"""

import multiprocessing
import os
import signal
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import torch
from torch import nn

from transferscope import devices
from transferscope.engine.environment import worker_environment
from transferscope.engine.processes import cause, starting
from transferscope.engine.task_context import Lost, Work
from transferscope.errors import UserError
from transferscope.tasks import inputs
from transferscope.tasks.learner import Learner
from transferscope.tasks.process_group import Group, joined
from transferscope.tasks.recipe import Run
from transferscope.tasks.run_setup import Start
from transferscope.tasks.share_trial import IMAGES, try_shares
from transferscope.tasks.update import Gradients

HEARD = 5.0  # seconds in which a process that ended is noticed


@dataclass(frozen=True)
class _Job:
    """What a process is started with; `work` are fields of its `Work`, and `meeting` is where all meet."""

    table: Path
    start: Start
    recipe: Run
    processes: int
    work: dict[str, Any]
    meeting: Path


@dataclass(frozen=True)
class _Said:
    """Why a process ended, "" where it is ready; whether it `refused` what the user asked for, and `spoke` at all."""

    sentence: str
    refused: bool = False
    spoke: bool = True


@dataclass(frozen=True)
class _Helper:
    process: BaseProcess
    pipe: Connection


class Helpers:
    """The other processes of a run, as number 0 has them."""

    def __init__(self, group: Group, helpers: list[_Helper]) -> None:
        self.group, self._helpers = group, helpers

    def begin(self, epoch: int, batch: int, net: nn.Module) -> None:
        """Have all go through the batches of an epoch from one on, with the weights of `net`."""
        for one in self._helpers:
            with suppress(OSError):  # of one that is lost the group tells
                one.pipe.send((epoch, batch))
        self.group.spread(net, everything=True)


@contextmanager
def helped(learner: Learner, start: Start, work: Work) -> Iterator[Helpers]:
    """Inside, a run has the help of `work.processes` less one. Raises Lost where one of them ends before it should, and
    UserError for what it refuses."""
    learner.train()
    try_shares(learner.net, learner.table.example("eval").example(IMAGES).to(work.device))
    threads, helpers = max(1, work.threads // work.processes), list[_Helper]()
    with tempfile.TemporaryDirectory(prefix="transferscope-") as folder:
        own = {"memo": work.memo, "threads": threads, "options": dict(work.options)}
        job = _Job(learner.table.folder, start, learner.recipe, work.processes, own, Path(folder))
        try:
            for number in range(1, work.processes):
                helpers.append(_started(job, number, work.device))
            for one in helpers:
                while not one.pipe.poll(0.2):
                    work.go_on()
                _raise_what_they_say([one])
            torch.set_num_threads(threads)
            with joined(job.meeting, 0, work.processes, work.device) as group:
                yield Helpers(group, helpers)
        except RuntimeError:  # the connection to one that ended, which is closed before its end is seen
            if wait([one.pipe for one in helpers], HEARD):
                time.sleep(HEARD / 10)  # for what the others say
                _raise_what_they_say([one for one in helpers if one.pipe.poll()])
            raise
        finally:
            torch.set_num_threads(work.threads)
            for one in helpers:
                one.process.kill()  # they have nothing to lose
                one.process.join()
                one.pipe.close()


def _raise_what_they_say(helpers: Sequence[_Helper]) -> None:
    """Raise UserError for what any of these refused, or Lost for one that ended: without a word if there is one, for
    that is why others failed."""
    said = [_heard(one) for one in helpers]
    for sentence in (one.sentence for one in said if one.refused):
        raise UserError(sentence)
    for one in sorted(said, key=lambda one: one.spoke):
        if one.sentence:
            raise Lost(f"A process that helped to train this run ended ({one.sentence}); run again to go on.")


def _heard(one: _Helper) -> _Said:
    try:
        return _Said(*one.pipe.recv())
    except (EOFError, OSError):
        one.process.join(HEARD)
        return _Said(cause(one.process.exitcode), spoke=False)


def _started(job: _Job, number: int, device: str) -> _Helper:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    place = devices.following(device, number)
    process = context.Process(target=_help, args=(theirs, number, place, job), daemon=True)
    with starting(worker_environment(job.work["threads"])):
        process.start()
    theirs.close()
    return _Helper(process, ours)


def _help(pipe: Connection, number: int, device: str, job: _Job) -> None:
    """The whole life of a process that helps: what it is told are epochs and the batches to begin with. When the pipe
    is closed number 0 is gone, and so is this one, whatever it waits for."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # number 0 decides
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    orders: SimpleQueue[tuple[int, int]] = SimpleQueue()

    def listen() -> None:
        with suppress(EOFError, OSError):
            while True:
                orders.put(pipe.recv())
        os._exit(0)

    threading.Thread(target=listen, daemon=True).start()
    with _telling(pipe):
        torch.set_num_threads(job.work["threads"])
        work = Work(job.meeting, device=device, **job.work)
        learner = Learner(inputs.open_table(job.table), job.start, job.recipe, work)
        gradients = Gradients(learner.net, job.recipe)
        pipe.send(("",))
    with joined(job.meeting, number, job.processes, device) as group, _telling(pipe):
        learner.group = group
        while True:
            _follow(learner, gradients, group, *orders.get())


@contextmanager
def _telling(pipe: Connection) -> Iterator[None]:
    """Tell number 0 why this process ends, before it waits for anything else."""
    try:
        yield
    except Exception as error:
        refused = isinstance(error, UserError)
        said = str(error) if refused else f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        with suppress(OSError):
            pipe.send((said, refused))
        raise


def _follow(learner: Learner, gradients: Gradients, group: Group, epoch: int, first: int) -> None:
    """One epoch from batch `first` on, in step with number 0."""
    group.spread(learner.net, everything=True)
    learner.train()
    batches = learner.batches(epoch, first)
    count = first + len(batches)
    for batch, (x, labels, rows) in enumerate(batches, first):
        found = learner.loss(x, labels, rows, epoch, batch)
        images = found.images if learner.recipe.mean_over == "images" else 1
        if gradients.add(found.loss, batch, count, images):
            group.collect(learner.net)
            group.spread(learner.net)
