"""One page of numbers: what a study says, what a step is named by, and what the loop reads are the same fields."""

import json
from typing import Annotated

from transferscope.engine.step import Outside, task
from transferscope.tasks.recipe import Neutral, Recipe, Run, Training
from transferscope.tasks.train import NEUTRAL, train

BESIDE = {"data", "weights", "begin"}  # what a step gets from other steps and from outside
SAID = {
    **{name: info.default for name, info in Training.model_fields.items()},
    "network": "toy.nets:tiny",
    "arm": "random",
    "lr": 0.1,
    "min_share": None,
    "seed": 0,
    "head_seed": 0,
    "mean": [0.5],
    "std": [0.5],
    "augment": {"scale": [0.5, 1.0], "ratio": [0.75, 1.5], "flip": True, "interpolation": "bilinear"},
    "milestones": [0.3, 0.6],
}


def test_a_step_has_exactly_the_fields_of_a_run() -> None:
    step = train.step(data=Outside("here", "1"), weights=None, **SAID)
    assert set(step.params) == set(Run.model_fields) | BESIDE
    assert set(NEUTRAL) == set(Run.neutral()) | {"begin"}


def test_a_study_says_every_field_of_training() -> None:
    assert set(Training.model_fields) < set(Recipe.model_fields)
    assert set(Training.model_fields) < set(Run.model_fields)


def test_a_run_is_read_back_from_json() -> None:
    run = Run.read(json.loads(json.dumps(SAID)))
    assert run.mean == (0.5,) and run.milestones == (0.3, 0.6)
    assert run.augment is not None and run.augment.ratio == (0.75, 1.5)
    assert run.learning_rates(run.lr).lr == 0.1
    assert run.trainable == "all" and run.fraction == 1.0  # said by no one: what changes nothing


def test_a_field_that_is_added_leaves_keys_as_they_were() -> None:
    class Later(Run):
        novel: Annotated[float, Neutral(0.0)] = 0.9

    @task("train", version=1, further=Later.parameters(), neutral={"begin": None, **Later.neutral()})
    def later(*, data, weights, begin=None, work, **said):
        """As today's, with one field more."""

    def key(of, **more) -> str:
        return of.step(data=Outside("here", "1"), weights=None, **SAID, **more).key

    assert key(train) == key(later) == key(later, novel=0.0)
    assert key(later, novel=0.9) != key(train)
