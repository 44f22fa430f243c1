"""Throughput: training processes that take steps on one device at the same time, and how many they take."""

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, Any

from transferscope import devices
from transferscope.errors import UserError
from transferscope.tasks.costs import EVAL_BATCH
from transferscope.timing import calibrate
from transferscope.timing.step_time import Question, loops, network, question_of

CONTEXT = 500_000_000  # bytes of a GPU that a process takes besides its tensors
WARM, SECONDS = 5, 3.0  # steps before, and seconds of, a measurement
TIMEOUT = 180


@dataclass(frozen=True)
class Throughput:
    """`count` processes at once: steps a second of all together, bytes of the device that the largest takes, bytes
    that were free before. On a CPU, whose memory is not what limits, both are 0."""

    count: int
    rate: float
    memory: int
    free: int


def throughput(question: Question, count: int, seconds: float = SECONDS) -> Throughput:
    """Start `count` processes as workers are started, wait until all are ready, let all train for some seconds.

    UserError when one fails or `TIMEOUT` seconds have passed; no process is left, whatever happens.
    """
    command, environment = calibrate.process("transferscope.timing.throughput", question)
    deadline = time.monotonic() + TIMEOUT
    pipe, nowhere = subprocess.PIPE, subprocess.DEVNULL
    started: list[subprocess.Popen[str]] = []
    try:
        for _ in range(count):
            started.append(
                subprocess.Popen(
                    command,
                    stdin=pipe,
                    stdout=pipe,
                    stderr=nowhere,
                    text=True,
                    encoding="utf-8",
                    errors="replace",
                    env=environment,
                )
            )
        ready = [_answer(process.stdout, deadline) for process in started]
        for process in started:
            with suppress(OSError):  # it is dead, which its missing answer tells
                print(seconds, file=process.stdin, flush=True)
        found = [_answer(process.stdout, deadline) for process in started]
    except UserError as error:
        raise UserError(f"{count} of {question.network} at {question.image}: {error}") from None
    finally:
        for process in started:
            process.kill()
        for process in started:
            with suppress(subprocess.TimeoutExpired):
                process.communicate(timeout=10)
    rate = sum(one["steps"] / one["seconds"] for one in found)
    return Throughput(count, rate, max(one["memory"] for one in found), ready[0]["free"])


def _answer(output: IO[str] | None, deadline: float) -> dict[str, Any]:
    """What a process says next. UserError when it failed, died, or is too late."""
    assert output is not None
    if not select.select([output], [], [], max(0.0, deadline - time.monotonic()))[0]:
        raise UserError(f"no answer within {TIMEOUT} s")
    if not (line := output.readline()):
        raise UserError("a process was killed, perhaps because memory ran out")
    said: dict[str, Any] = json.loads(line)
    if "failed" in said:
        raise UserError(said["failed"])
    return said


def one(question: Question, say: Callable[[Mapping[str, Any]], None], heard: IO[str]) -> None:
    """One of the processes: say that it is ready, hear for how many seconds to train, say what it did."""
    from transferscope.models import check_network_ref

    check_network_ref(question.network)
    import torch

    on_gpu, device = devices.on_gpu(question.device), torch.zeros(1, device=question.device).device
    torch.set_num_threads(question.threads)
    free = devices.free_memory(device) + CONTEXT if on_gpu else 0
    step, evaluate = loops(network(question), question.ways[0], question, EVAL_BATCH)

    def timed(seconds: float, least: int) -> dict[str, float]:
        steps, began = 0, time.perf_counter()
        while steps < least or time.perf_counter() - began < seconds:
            step()
            steps += 1
        devices.synchronise(device)
        return {"steps": steps, "seconds": time.perf_counter() - began}

    timed(0.0, WARM)
    evaluate()  # its batch counts among the memory that is needed
    say({"free": free})
    if not (line := heard.readline()):  # the parent is gone
        return
    found = timed(float(line), 1)
    say(found | {"memory": devices.peak_memory(device) + CONTEXT if on_gpu else 0})


if __name__ == "__main__":
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print is no answer
    try:
        one(question_of(sys.argv[1]), lambda said: print(json.dumps(said), file=answers, flush=True), sys.stdin)
    except Exception as error:
        print(json.dumps({"failed": " ".join(str(error).split())[:300] or type(error).__name__}), file=answers)
        sys.exit(1)
    finally:
        answers.close()
