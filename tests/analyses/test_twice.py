"""An analysis that stands twice in a study, under two names."""

import json

import pytest
from smoke import study as smoke

from transferscope import analyses, battery
from transferscope.errors import UserError
from transferscope.study import Study

from .conftest import finish

PLAIN = "distance: {}, distance-best: {type: distance, checkpoint: best}"


def study(folder, text: str) -> Study:
    return Study.load(smoke.write(folder), {"analyses": f"{{{text}}}"})


def test_each_has_its_cells_options_table_and_section(tmp_path):
    done = finish(smoke.write(tmp_path), {"analyses": f"{{{PLAIN}}}", "arms": "[random]", "pretrained": "null"})
    assert not battery.results(done.study).problems
    said = {one["name"]: one for one in json.loads((tmp_path / "results.json").read_text())["analyses"]}
    assert list(said) == ["images", "distance", "distance-best"]
    assert said["distance-best"]["title"] == f"{said['distance']['title']} (distance-best)"
    assert (tmp_path / "tables" / "distance.csv").exists() and (tmp_path / "tables" / "distance-best.csv").exists()
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "weights of the last epoch" in page and "weights of the epoch that scored best" in page


def test_what_both_ask_for_is_one_step(tmp_path):
    found, twice = (
        battery.plan(study(tmp_path, text))[0] for text in ("distance: {}", "distance: {}, again: {type: distance}")
    )
    assert len(twice.steps) == len(found.steps)
    assert [cell.analysis for cell in twice.cells].count("again") == [cell.analysis for cell in found.cells].count(
        "distance"
    )


def test_one_analysis_at_two_rates(tmp_path):
    text = "transfer: {}, slow: {type: transfer, recipe: {lr: 0.01, epochs: {random: 3, pretrained: 1}}}"
    found = battery.plan(study(tmp_path, text))[0]
    said = {
        (cell.analysis, cell.labels["arm"]): (cell.step.params["lr"], cell.step.params["epochs"])
        for cell in found.cells
        if cell.analysis in ("transfer", "slow")
    }
    assert said == {
        ("transfer", "random"): (0.05, 2),
        ("transfer", "pretrained"): (0.05, 2),
        ("slow", "random"): (0.01, 3),
        ("slow", "pretrained"): (0.01, 1),
    }
    count = [step.task for step in found.steps].count
    assert (count("train"), count("ingest")) == (8, 1)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("again: {}", "analyses: 'again' is not an analysis"),
        ("again: {type: distanse}", "analyses: 'distanse' is not an analysis; did you mean 'distance'?"),
        ("again: {type: distance, chekpoint: best}", "analyses.again: unknown key 'chekpoint'"),
        ("barrier: {type: distance}", "analyses.barrier.type: 'barrier' is an analysis itself"),
        ("distance: {recipe: {lrr: 1}}", "analyses.distance.recipe: unknown key 'lrr'"),
        ("distance: {recipe: {crop: 0.5}}", "analyses.distance.recipe.crop: all images are decoded alike"),
        ("distance: {recipe: {patience: 3}}", "analyses.distance.recipe.patience: it is for 'schedule: plateau'"),
        ("distance: {recipe: [lr]}", "analyses.distance.recipe: give keys of the recipe"),
        ("a/b: {type: distance}", "analyses: 'a/b' names files of the report"),
    ],
)
def test_what_cannot_be_is_one_sentence(tmp_path, text, sentence):
    with pytest.raises(UserError) as caught:
        analyses.chosen(study(tmp_path, text))
    assert str(caught.value).startswith(sentence) and "\n" not in str(caught.value)


def test_no_type_is_the_name_itself(tmp_path):
    found = analyses.chosen(study(tmp_path, "distance: {type: null, checkpoint: best}"))["distance"]
    assert found.kind == "distance" and found.options.checkpoint == "best"
