"""Keys hold everything that can change a number, and nothing else."""

import json

import pytest
from toy import tasks

from transferscope.engine.step import Outside, Step, canonical, decode, walk


def test_defaults_are_part_of_the_key() -> None:
    assert tasks.number.step(value=1).key == tasks.number.step(value=1, scale=1.0).key
    assert tasks.number.step(value=1).key != tasks.number.step(value=1, scale=2.0).key


def test_a_changed_default_changes_the_key() -> None:
    assert tasks.number.step(value=1).key != tasks.number_other_default.step(value=1).key
    assert tasks.number.step(value=1, scale=2.0).key == tasks.number_other_default.step(value=1).key


def test_the_version_is_part_of_the_key() -> None:
    assert tasks.number.step(value=1).key != tasks.number_again.step(value=1).key


def test_a_later_parameter_stays_out_of_the_key_at_its_neutral_value() -> None:
    assert tasks.number_grown.step(value=1).key == tasks.number.step(value=1).key
    assert tasks.number_grown.step(value=1, offset=3).key != tasks.number.step(value=1).key


def test_where_an_outside_thing_lies_is_not_part_of_the_key() -> None:
    here, there = Outside("folder:/here", "abc"), Outside("folder:/there", "abc")
    assert tasks.read.step(source=here).key == tasks.read.step(source=there).key
    assert tasks.read.step(source=here).key != tasks.read.step(source=Outside("folder:/here", "abd")).key


def test_the_keys_of_inputs_are_part_of_the_key() -> None:
    one, two, other = (tasks.number.step(value=v) for v in (1, 2, 3))
    assert tasks.total.step(parts=[one, two]).key != tasks.total.step(parts=[one, other]).key
    assert tasks.total.step(parts=[one, two]).inputs == (one, two)


def test_whether_a_parameter_is_a_whole_number_or_a_decimal_matters_to_nobody_but_the_key_is_stable() -> None:
    assert canonical({"b": 1, "a": [1.5, None, "é"]}) == b'{"a":[1.5,null,"\\u00e9"],"b":1}'
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical(float("nan"))


def test_golden_keys() -> None:
    """Frozen keys: a failure here means that every store in the world would be computed again.

    Made on 2026-11-23 by printing them; they must change only with a task's version.
    """
    one = tasks.number.step(value=1)
    assert one.key == GOLDEN["number"]
    assert tasks.total.step(parts=[one, tasks.number.step(value=2)]).key == GOLDEN["total"]
    assert tasks.read.step(source=Outside("folder:/here", "abc")).key == GOLDEN["read"]


GOLDEN = {
    "number": "097824801cd8588e7c21bcd0",
    "total": "ec7849689d62fac214fa6379",
    "read": "b8bb0f2cc737d0ab2e85653b",
}


def test_a_job_is_plain_json_and_comes_back() -> None:
    step = tasks.total.step(parts=[tasks.number.step(value=1)])
    job = json.loads(json.dumps(step.job))
    assert job["key"] == step.key
    assert decode(job["params"], lambda task, key: (task, key)) == {"parts": [("number", step.inputs[0].key)]}
    outside = json.loads(json.dumps(tasks.read.step(source=Outside("r", "f")).job))
    assert decode(outside["params"], lambda *_: None) == {"source": Outside("r", "f")}


def test_wrong_parameters_are_refused_when_planned() -> None:
    with pytest.raises(TypeError):
        tasks.number.step(valu=1)
    with pytest.raises(TypeError, match="value"):
        tasks.number.step()


def test_a_task_is_still_a_function(tmp_path) -> None:
    from transferscope.engine.task_context import Work

    assert tasks.number(value=2, scale=3.0, work=Work(tmp_path)) == [{"value": 6.0}]


def test_walk_puts_inputs_first_and_keeps_each_step_once() -> None:
    leaves = [tasks.number.step(value=v) for v in range(3)]
    top = tasks.total.step(parts=[tasks.total.step(parts=leaves), leaves[0]])
    order = walk([top, *leaves])
    assert len(order) == 5
    place = {step.key: n for n, step in enumerate(order)}
    assert all(place[i.key] < place[s.key] for s in order for i in s.inputs)


def test_long_chains_do_not_overflow_the_stack() -> None:
    step: Step = tasks.number.step(value=0)
    for _ in range(3000):
        step = tasks.total.step(parts=[step])
    assert len(walk([step])) == 3001
