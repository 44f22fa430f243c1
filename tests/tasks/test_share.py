"""Sharing a GPU: when one more process no longer pays, what is remembered, and real processes on a CPU."""

import dataclasses
import json
import signal
import subprocess
import threading
import time
from pathlib import Path

import psutil
import pytest

from transferscope.engine.machine import Machine
from transferscope.errors import UserError
from transferscope.timing import calibrate, share, throughput
from transferscope.timing.share import best, grown, remembered, sharing
from transferscope.timing.step_time import Question
from transferscope.timing.throughput import Throughput

GB = 10**9
ON_GPU = Question("timm:resnet18", 32, 4, device="cuda", ways=("float32",))
TOY = Question("toy.nets:tiny", 16, 4, ways=("float32",))


def made_up(rates: dict[int, float | Exception], memory: int = 0, free: int = 0):
    """A measurement that gives `rates` and notes what it was asked for."""
    asked = []

    def measure(count: int) -> Throughput:
        asked.append(count)
        if isinstance(rate := rates[count], Exception):
            raise rate
        return Throughput(count, rate, memory, free)

    return measure, asked


@pytest.mark.parametrize(
    ("rates", "most", "tried", "count"),
    [
        ({1: 10, 2: 20, 4: 40, 8: 80}, 16, [1, 2, 4, 8], 8),  # an idle device
        ({1: 10, 2: 20, 4: 40, 8: 80}, 7, [1, 2, 4], 4),  # cores
        ({1: 10}, 1, [1], 1),
        ({1: 10, 2: 11.4}, 16, [1, 2], 1),  # a full device: less than 1.15 times
        ({1: 10, 2: 11.6, 4: 13.2}, 16, [1, 2, 4], 2),  # against the fewer before, not the first
        ({1: 10, 2: 18, 4: 9}, 16, [1, 2, 4], 2),
        ({1: 10, 2: UserError("out of memory")}, 16, [1, 2], 1),
        ({1: 10, 2: 19, 4: OSError("no processes left")}, 16, [1, 2, 4], 2),
    ],
)
def test_a_crowd_grows_as_long_as_it_pays(rates, most: int, tried: list[int], count: int) -> None:
    measure, asked = made_up(rates)
    assert best(grown(measure, most)) == count
    assert asked == tried


@pytest.mark.parametrize(("memory", "tried", "count"), [(10, [1, 2, 4, 8], 8), (11, [1, 2, 4], 4), (41, [1], 1)])
def test_a_crowd_that_would_fill_the_memory_is_not_tried(memory: int, tried: list[int], count: int) -> None:
    measure, asked = made_up({1: 10, 2: 20, 4: 40, 8: 80}, memory * GB, 100 * GB)
    assert best(grown(measure, 16)) == count
    assert asked == tried


def test_the_free_memory_is_what_the_first_process_found() -> None:
    tried = [Throughput(1, 10, GB, 20 * GB), Throughput(2, 20, GB, 19 * GB), Throughput(4, 40, GB, GB)]
    assert best(tried) == 4
    assert best([*tried[:2], Throughput(4, 40, 5 * GB, GB)]) == 2  # a process took more than expected


def test_images_that_a_run_holds_need_room() -> None:
    tried = [Throughput(n, 10 * n, GB, 20 * GB) for n in (1, 2, 4, 8)]
    assert [best(tried, held * GB) for held in (0, 1, 2, 3, 7, 8)] == [8, 8, 4, 4, 2, 1]


def test_a_single_process_that_fails_is_an_error_of_growing() -> None:
    measure, _ = made_up({1: UserError("no such network")})
    with pytest.raises(UserError, match="no such network"):
        grown(measure, 8)


@pytest.fixture
def gpu(monkeypatch):
    """``gpu(rates)`` gives this machine a GPU and what tried on it measure; returns the counts asked for."""

    def put(rates: dict[int, float | Exception], names: tuple[str, ...] = ("A",)) -> list[int]:
        measure, asked = made_up(rates, GB, 100 * GB)
        machine = Machine(16, 64 * GB, names, "p", "s")
        for module in (share, calibrate):
            monkeypatch.setattr(module, "this_machine", lambda: machine)
        monkeypatch.setattr(share, "throughput", lambda question, count: measure(count))
        return asked

    return put


def test_a_measurement_is_remembered_for_its_question_and_machine(gpu, said, tmp_path: Path) -> None:
    asked = gpu({1: 10, 2: 19, 4: 20})
    assert remembered(ON_GPU, tmp_path) == 1
    assert sharing(ON_GPU, tmp_path) == 2
    assert sharing(ON_GPU, tmp_path) == remembered(ON_GPU, tmp_path) == 2
    assert asked == [1, 2, 4] and len(said) == 1
    assert sharing(ON_GPU, tmp_path, 50 * GB) == 1  # more images, the same measurement
    assert asked == [1, 2, 4]
    other = gpu({1: 10, 2: 10})
    assert sharing(dataclasses.replace(ON_GPU, ways=("bfloat16",)), tmp_path) == 1
    assert other == [1, 2]
    again = gpu({1: 10, 2: 10}, ("B",))
    assert sharing(ON_GPU, tmp_path) == 1
    assert again == [1, 2]


@pytest.mark.parametrize("error", [UserError("the network has no parameters"), RuntimeError("odd"), OSError("fork")])
def test_a_failure_is_one_run_a_gpu_and_one_line(gpu, said, tmp_path: Path, error: Exception) -> None:
    gpu({1: error})
    assert sharing(ON_GPU, tmp_path) == 1
    assert len(said) == 2 and str(error) in said[1] and "\n" not in said[1]
    assert remembered(ON_GPU, tmp_path) == 1
    gpu({1: 10, 2: 20, 4: 20})
    assert sharing(ON_GPU, tmp_path) == 2  # a failure is not remembered


@pytest.mark.parametrize("spoilt", ["5", '[{"count": 1}]', '"x"', "[3]", "{}", "null"])
def test_a_spoilt_memo_is_no_error(gpu, tmp_path: Path, spoilt: str) -> None:
    gpu({1: 10, 2: 20, 4: 20})
    sharing(ON_GPU, tmp_path)
    file = tmp_path / "sharing.json"
    (key,) = json.loads(file.read_text())
    file.write_text(f'{{"{key}": {spoilt}}}')
    assert remembered(ON_GPU, tmp_path) == 1
    assert sharing(ON_GPU, tmp_path) == 2


def test_unlike_gpus_and_cpus_are_not_measured(gpu, tmp_path: Path) -> None:
    asked = gpu({}, ("A", "B"))
    assert sharing(ON_GPU, tmp_path) == 1
    gpu({})
    assert sharing(TOY, tmp_path) == remembered(TOY, tmp_path) == 1
    assert asked == [] and not list(tmp_path.iterdir())


# -- real processes --------------------------------------------------------------------------------------------------


def children() -> list[psutil.Process]:
    found = []
    for process in psutil.Process().children():
        try:
            if "transferscope.timing.throughput" in process.cmdline():
                found.append(process)
        except psutil.Error:
            continue
    return found


def test_two_processes_train_at_the_same_time() -> None:
    found = throughput.throughput(TOY, 2, seconds=0.5)
    assert found.count == 2 and found.rate > 0 and (found.memory, found.free) == (0, 0)
    assert children() == []


def test_a_network_that_cannot_be_built_is_one_sentence() -> None:
    with pytest.raises(UserError, match=r"^2 of nobody.nets:build at 16 px: .*no package 'nobody'"):
        throughput.throughput(dataclasses.replace(TOY, network="nobody.nets:build"), 2)
    assert children() == []


def test_a_time_limit_ends_it(monkeypatch) -> None:
    monkeypatch.setattr(throughput, "TIMEOUT", 0.3)
    with pytest.raises(UserError, match="no answer within"):
        throughput.throughput(TOY, 2)
    assert children() == []


def test_ctrl_c_leaves_no_process_behind() -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it

    def interrupt() -> None:
        while len(children()) < 2:
            time.sleep(0.02)
        time.sleep(0.3)  # the last is started, but perhaps not yet known to be
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        throughput.throughput(TOY, 2, seconds=60)
    signal.signal(signal.SIGINT, before)
    assert children() == []


def test_a_process_whose_parent_is_gone_ends_by_itself() -> None:
    command, environment = calibrate.process("transferscope.timing.throughput", TOY)
    done = subprocess.run(command, input="", capture_output=True, text=True, env=environment, timeout=300, check=True)
    assert done.stdout == '{"free": 0}\n'


OWN = """
import os
from toy.nets import Poisoned

def talker(num_classes):
    print("{}")
    return Poisoned(num_classes)

class Dying(Poisoned):
    def forward(self, x):
        if self.calls > 7:
            os._exit(9)
        return super().forward(x)
"""


def test_what_a_network_prints_is_no_answer_and_dying_is_a_failure(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "__init__.py").touch()
    (tmp_path / "own" / "nets.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    assert throughput.throughput(dataclasses.replace(TOY, network="own.nets:talker"), 1, seconds=0.1).rate > 0
    with pytest.raises(UserError, match=r"^1 of own.nets:Dying at 16 px: a process was killed"):
        throughput.throughput(dataclasses.replace(TOY, network="own.nets:Dying"), 1, seconds=20)
