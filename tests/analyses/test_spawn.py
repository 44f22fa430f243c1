"""The spawn analysis: children of one run, forked where it was saved, and from when on they connect."""

import polars as pl
import pytest
import torch
from smoke import study as smoke

from transferscope import analyses
from transferscope.engine.table import ResultTable
from transferscope.errors import UserError
from transferscope.study import Study
from transferscope.tasks import restore

from .conftest import finish

module = analyses.load("spawn")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    path = smoke.write(tmp_path_factory.mktemp("spawn"))
    options = "{spawn: {images: 24, statistics: 16, alphas: 3, arms: [random]}}"
    return finish(path, {"analyses": options, "seeds": "2"})


def test_children_go_on_from_their_parent_and_differ(finished):
    cells = [cell for cell in finished.plan.cells if cell.analysis == "spawn"]
    assert [(c.labels["epoch"], c.labels["seed"]) for c in cells] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    for cell in cells:
        epoch, parent = cell.labels["epoch"], finished.study.run("shapes", "random", cell.labels["seed"])
        steps = [cell.step.params[side] for side in "ab"]
        children = [finished.store.get(step) for step in steps]
        assert (steps[0] == parent) == (epoch == 0) and steps[1] != parent
        saved = restore.weights(finished.store.get(parent), f"epoch-{epoch:04d}")
        for step, child in zip(steps, children, strict=True):
            start = restore.weights(child, "start")
            assert all(torch.equal(start[name], tensor) for name, tensor in saved.items())
            assert step == parent or [row["epoch"] for row in child.rows] == list(range(epoch, 3))
        a, b = (restore.weights(child) for child in children)
        assert not torch.equal(a["0.weight"], b["0.weight"])
        assert finished.store.get(cell.step).rows[0]["head"] == "shared"


def test_section_draws_everything(finished):
    section = finished.section("spawn")
    assert [c.name for c in section.charts] == ["shapes-spawn"] and section.charts[0].spec.to_dict()
    (finding,) = section.findings
    assert "(tried: 0 and 1)" in finding.text and finding.n == 2 and finding.verdict is None
    assert section.tables[0].rows.height == 4


def made(heights, seeds=3):
    rows = []
    for epoch, height in heights.items():
        for seed in range(seeds):
            for alpha in (0.0, 0.5, 1.0):
                bump = height + 0.001 * seed
                rows.append(
                    {
                        "target": "t",
                        "arm": "random",
                        "epoch": epoch,
                        "seed": seed,
                        "split": "test",
                        "alpha": alpha,
                        "metric": 0.8 - (bump if alpha == 0.5 else 0),
                        "loss": 1.0,
                        "measure": "accuracy",
                        "images": 100,
                        "points": 3,
                        "head": "shared",
                        "barrier": bump,
                        "barrier_low": 0.0,
                        "barrier_high": 1.0,
                        "barrier_at": 0.5,
                        "chord_barrier": bump,
                        "chord_low": 0.0,
                        "chord_high": 1.0,
                        "loss_barrier": 0.0,
                    }
                )
    return ResultTable(pl.DataFrame(rows))


@pytest.mark.parametrize(
    ("heights", "words"),
    [
        ({0: 0.4, 1: 0.2, 2: 0.01, 4: 0.005}, "connect (at most 2 points) when they part at epoch 2 or later"),
        ({0: 0.01, 1: 0.005}, "connect (at most 2 points) whenever they part, from epoch 0 on"),
        ({0: 0.01, 1: 0.3, 2: 0.01}, "when they part at epoch 2 or later"),
        ({0: 0.4, 1: 0.3}, "still do not connect when they part at epoch 1, the last tried"),
    ],
)
def test_when_a_run_is_stable_is_told(heights, words):
    (finding,) = module.section(made(heights), module.Options()).findings
    assert "the barrier between those of epoch 0 is" in finding.text
    assert words in finding.text and finding.effect == pytest.approx(100 * heights[0] + 0.1)


def test_section_survives_gaps(finished):
    assert module.section(ResultTable(pl.DataFrame()), module.Options()).notes
    whole = finished.table("spawn").rows
    lost = whole.with_columns(pl.lit(None, pl.Float64).alias(n) for n in ("metric", "barrier"))
    assert module.section(ResultTable(lost), module.Options()).title
    assert module.section(ResultTable(whole.head(1)), module.Options()).findings


def test_what_cannot_be_forked_is_refused(tmp_path):
    with pytest.raises(UserError, match="nothing to start from at 3"):
        analyses.options("spawn", {"epochs": [0, 3]})
    study = Study.load(smoke.write(tmp_path), {"analyses": "[spawn]"})
    with pytest.raises(UserError, match="nothing left to train after 2"):
        list(module.plan(study, module.Options(epochs=[0, 2])))
    with pytest.raises(UserError, match="'stats' is not among"):
        list(module.plan(study, module.Options(arms=["stats"])))
