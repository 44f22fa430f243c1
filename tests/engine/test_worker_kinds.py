"""Workers of several kinds: what is said of them, and what is refused."""

from dataclasses import replace

import pytest
from toy import tasks

from transferscope.engine.machine import Machine
from transferscope.engine.step import task
from transferscope.engine.task_context import Work
from transferscope.engine.worker_kinds import Bench, differences
from transferscope.errors import UserError

OLD = Machine(4, 10**10, (), "Old", "Linux", ("avx2",))
NEW = replace(OLD, processor="New", instructions=("avx2", "avx512_bf16"))
GPU = replace(OLD, gpus=("H",), capabilities=(9.0,))


@task("computed", version=1)
def computed(*, precision: str, work: Work) -> list[dict[str, str]]:
    return [{"precision": precision}]


FLOAT, BFLOAT = [computed.step(precision="float32")], [computed.step(precision="bfloat16")]


def test_workers_of_a_kind_need_no_word() -> None:
    assert differences([Bench(OLD, "cpu"), Bench(replace(OLD, memory=1), "cpu")], FLOAT, natural=True) == []
    assert differences([], FLOAT, natural=True) == []


def test_workers_of_two_kinds_are_told() -> None:
    (said,) = differences([Bench(OLD, "cpu"), Bench(NEW, "cpu")], FLOAT, natural=False)
    assert said.startswith("Workers are of 2 kinds (Old (avx2); New (avx2, avx512_bf16))") and "last digits" in said


def test_what_auto_means_to_a_worker_has_to_be_what_it_meant_to_the_planner() -> None:
    with pytest.raises(
        UserError, match="'auto' means float32 where the study was planned and bfloat16 on a worker, 1 x H"
    ):
        differences([Bench(GPU, "cuda:0")], FLOAT, natural=True)
    assert differences([Bench(GPU, "cuda:0")], FLOAT, natural=False) == [], "somebody asked for it"
    assert differences([Bench(GPU, "cuda:0")], BFLOAT, natural=True) == []
    assert differences([Bench(GPU, "cuda:0")], [tasks.number.step(value=1)], natural=True) == [], "nothing is trained"


def test_what_is_emulated_is_told() -> None:
    (said,) = differences([Bench(OLD, "cpu")], BFLOAT, natural=False)
    assert said == "A worker, Old (avx2), has no bfloat16: it is emulated there and slow."
