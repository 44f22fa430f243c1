"""Workers that hang, crash, are killed, or run code that wanders off: the rest goes on, and what happened is told."""

from pathlib import Path

import pytest
from toy import tasks

from transferscope.engine.executors import Slots
from transferscope.engine.executors.inline import Inline
from transferscope.engine.executors.local import Local

ONE = Slots(("cpu",), threads=1, cores=1)


@pytest.mark.parametrize("how", ["crash", "hang"])
def test_a_step_is_tried_once_more_by_a_fresh_worker(store, tmp_path, how) -> None:
    step = tasks.once.step(how=how, marks=str(tmp_path / "tried"))
    outcomes = Local(ONE, {"patience": 3.0}).run([step], store)
    assert outcomes[step.key].status == "done" and store.get(step).rows == [{"tried": 2}]


def test_a_step_that_stands_still_is_ended_and_tells_where(store) -> None:
    hung, good = tasks.hang.step(), tasks.number.step(value=1)
    outcomes = Local(ONE, {"patience": 1.0}).run([hung, good], store)
    assert outcomes[good.key].status == "done"
    error = outcomes[hung.key].error
    assert "did not move for 1 s, twice" in error
    where = (store.root / "failures" / f"hang-{hung.key}.txt").read_text()
    assert str(store.root / "failures") in error and "in hang" in where and "threading.py" in where


def test_what_computes_in_silence_does_not_stand_still(store) -> None:
    step = tasks.busy.step(seconds=4.0)
    assert Local(ONE, {"patience": 1.5}).run([step], store)[step.key].status == "done"


def test_a_worker_lost_to_a_signal_is_told_by_its_name(store) -> None:
    error = Local(ONE).run([step := tasks.fail.step(how="segfault")], store)[step.key].error
    assert "died twice (a segmentation fault, SIGSEGV)" in error


@pytest.mark.parametrize("executor", [Local, Inline])
def test_code_that_leaves_the_program_fails_its_step_alone(store, executor) -> None:
    leaves, good = tasks.fail.step(how="exit"), tasks.number.step(value=1)
    outcomes = executor(ONE).run([leaves, good], store)
    assert outcomes[leaves.key].status == "failed" and "called sys.exit(0)" in outcomes[leaves.key].error
    assert outcomes[good.key].status == "done"


@pytest.mark.parametrize("verb", ["plan", "run", "report"])
@pytest.mark.parametrize("code", ["0", "'bye'", ""])
def test_code_that_leaves_the_program_is_no_end_of_a_verb(verb, code, tmp_path, monkeypatch, call) -> None:
    (tmp_path / "leaving.py").write_text(f"import sys\nsys.exit({code})\n")
    (tmp_path / "study.yaml").write_text("targets: {a: 'leaving.part:'}\nnetwork: timm:resnet10t\narms: [random]\n")
    monkeypatch.syspath_prepend(tmp_path)
    said = call(verb, cwd=tmp_path)
    assert said.code == 2 and f"code that the study uses called sys.exit({code or None})" in " ".join(said.err.split())


@pytest.mark.parametrize("executor", [Local, Inline])
def test_code_that_changes_the_working_directory_moves_no_result(store, tmp_path, monkeypatch, executor) -> None:
    monkeypatch.chdir(tmp_path)
    here = type(store)(Path("store"))  # as a study beside which one stands has it
    steps = [tasks.wander.step(), tasks.number.step(value=1)]
    outcomes = executor(ONE).run(steps, here)
    assert [outcomes[step.key].status for step in steps] == ["done", "done"]
    assert Path.cwd() == tmp_path and (store.get(steps[0]).path / "here.txt").read_text() == "here"
    assert store.get(steps[0]).rows == [{"there": "/"}]


def test_what_a_killed_writer_left_is_no_part_of_a_result(store) -> None:
    step = tasks.left.step()
    assert Inline(ONE).run([step], store)[step.key].status == "done"
    assert {path.name for path in store.get(step).path.iterdir()} <= {"table.json", "rows.json", "step.json", "log.txt"}
    assert list((store.root / ".scratch").iterdir()) == []
