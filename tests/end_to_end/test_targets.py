"""Studies of numbers, grades and labels with gaps, from the file to the page, whose words are those of their metric."""

import html
import json
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml
from safetensors.numpy import load_file
from smoke import targets

from transferscope import analyses
from transferscope.engine.store import Store
from transferscope.measures import judged
from transferscope.study import Study
from transferscope.tasks import restore
from transferscope.tasks.inputs import open_table

TAGS = re.compile(r"<(script|svg|style)\b.*?</\1>|<details class=.guide.*?</details>", re.DOTALL)


def told(folder: Path) -> str:
    """What the page finds, without charts, guides and the study file."""
    page = (folder / "report.html").read_text(encoding="utf-8")
    body = TAGS.sub(" ", page[page.index("<body") : page.index('id="provenance"')])
    return html.unescape(re.sub(r"<[^>]+>", "\n", body))


def findings(folder: Path) -> list[str]:
    """Every sentence and unit of the findings and cards."""
    said = json.loads((folder / "results.json").read_text(encoding="utf-8"))["analyses"]
    of = [one for part in said for one in (*part["findings"], *part["cards"])]
    return [one[name] for one in of for name in ("text", "headline", "unit", "sure") if one.get(name)]


def runs(folder: Path, name: str = "transfer") -> tuple[Study, list]:
    study = Study.load(folder / "study.yaml")
    store = Store(study.store_folder)
    return study, [(cell.labels, store.get(cell.step)) for cell in analyses.chosen(study)[name].plan(study)]


@pytest.mark.slow
def test_every_analysis_speaks_of_numbers_in_their_own_words(numbers: Path) -> None:
    assert "R²" in numbers.with_suffix(".ready").read_text(encoding="utf-8"), "what the run said"
    missing = set(analyses.names()) - set(targets.ANALYSES) - {"images"}
    assert all("regression" in analyses.load(name).NOT_FOR for name in missing), "asked for, or refused by name"
    said = findings(numbers)
    assert any("hundredths of R²" in text for text in said) and any("R² is" in text for text in said)
    unit = re.compile(
        r"\baccurac|\bAUC\b|\bpoints? of (error|AUC)|\bpoints below|\bcross-entropy|\bnats\b|mistakes that"
    )
    wrong = [text for text in said if unit.search(text)]
    assert not wrong, wrong
    percent = {"points", "points of the drop"}  # of the effective rank, and of a share of the score
    assert {text for text in said if text.startswith("points")} <= percent
    words = told(numbers)
    assert "2 numbers" in words and "the residuals of two fine-tuned networks" in words
    assert "class is tiny" not in words and "Mistakes by class" not in words
    assert "mean error, random" in words and "RMSE" in words


@pytest.mark.slow
def test_numbers_are_learnt_standardised_and_told_in_their_units(numbers: Path) -> None:
    study, found = runs(numbers)
    table = open_table(Store(study.store_folder).get(study.data("signals")).whole())
    raw = np.load(numbers / "numbers.npz")["y"]
    train = raw[table.rows["train"]]
    assert table.centre == pytest.approx(train.mean(0)) and table.spread == pytest.approx(train.std(0))
    assert table.in_units(table.labels) == pytest.approx(raw, rel=1e-5)
    for labels, run in found:
        out = restore.outputs(run, "test")
        truth = raw[table.rows["test"]]
        last = run.rows[-1]
        score = last["whole_test_metric"] if last.get("whole_test_metric") is not None else last["test_metric"]
        in_units = judged.score(out * train.std(0) + train.mean(0), truth, "r2")
        assert last["metric"] == "r2" and score == pytest.approx(in_units, abs=1e-5), labels
        scores = [row["val_metric"] for row in run.rows[1:]]
        assert restore.best_epoch(run) == 1 + int(np.argmax(scores))
    frame = pl.read_csv(numbers / "tables" / "transfer.csv")
    assert set(frame["metric"]) == {"r2"}


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "word"), [("grades", "quadratic kappa"), ("gaps", "AUC")])
def test_other_targets_run_through_the_battery(tmp_path: Path, call, kind: str, word: str) -> None:
    chosen = ("transfer", "mistakes", "barrier", "average", "rewind", "labels")
    how = {"metric": "kappa"} if kind == "grades" else {}
    targets.write(tmp_path, kind, {name: targets.ANALYSES[name] for name in chosen} | {"criticality": {
        "images": 24, "alphas": 2, "sigmas": 2, "draws": 1, "valleys": "none"}}, **how)  # fmt: skip
    done = call("run", cwd=tmp_path)
    assert done.code == 0, done.out + done.err
    words = told(tmp_path)
    assert f"final test {word} is" in words and "calibration error" in words and "Brier score" in words
    if kind == "grades":
        assert "hundredths of kappa" in words and "mean error in grades" in words and "4 grades" in words
        assert words.count("Networks are judged by quadratic kappa, as their target says") == 3
        said = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))["analyses"]
        of = {part["name"]: {one["unit"].partition(",")[0] for one in part["findings"]} for part in said}
        assert of["barrier"] == {"hundredths of kappa"} and of["average"] >= {"hundredths of kappa"}
        assert "hundredths of kappa" in of["rewind"]
        checked = call("check", cwd=tmp_path)
        assert "wrong training answers whatever metric: says (signals)" in checked.out + checked.err
    else:
        assert "not known and left out" in words and "3 labels" in words


@pytest.mark.slow
def test_the_metric_of_a_target_judges_everywhere(tmp_path: Path, call) -> None:
    """Mean absolute error, of which lower is better, in the units of two numbers whose ranges differ a hundredfold."""
    names = ("transfer", "barrier", "basin", "average", "rewind", "labels", "tuning", "choose")
    file = targets.write(tmp_path, "numbers", {n: targets.ANALYSES[n] for n in names}, metric="mae", loss="huber")
    done = call("run", file, cwd=tmp_path)
    assert done.code == 0, done.out + done.err
    study, found = runs(tmp_path)
    table = open_table(Store(study.store_folder).get(study.data("signals")).whole())
    rows = table.rows["test"]
    truth = np.load(tmp_path / "numbers.npz")["y"][rows]
    for _, run in found:
        last, out = run.rows[-1], restore.outputs(run, "test")
        error = float(np.abs(table.in_units(out) - truth).mean())
        assert last["metric"] == "mae" and last["whole_test_metric"] == pytest.approx(-error, rel=1e-5)
        assert last["deviation"] == pytest.approx(np.mean(table.spread))
        scores = [row["val_metric"] for row in run.rows[1:]]
        assert restore.best_epoch(run) == 1 + int(np.argmax(scores)), "of the lowest error"
        off = np.abs(out - table.labels[rows])
        assert last["whole_test_loss"] == pytest.approx(np.where(off < 1, off**2 / 2, off - 0.5).mean(), rel=1e-5)
        assert load_file(run.path / "predictions-final.safetensors")["test"].shape == truth.shape
    said = findings(tmp_path)
    assert not [text for text in said if re.search(r"R²|\bpoints?\b|hundredths|-\d+ with pretraining", text)]
    words = told(tmp_path)
    assert "lower is better" in words and words.count("Networks are judged by mean absolute error") == 4
    _, lines = runs(tmp_path, "barrier")
    for _, line in lines:
        assert {row["measure"] for row in line.rows} == {"mae"} and line.said["params"]["judged"] == "mae"
    ends = {labels["seed"]: line.rows[0]["metric"] for labels, line in lines if labels["pair"] == "P-T & RI-T"}
    assert all(-2000 < value < -10 for value in ends.values()), "in units, minus the error"


def test_only_a_metric_that_is_asked_for_changes_the_keys_of_steps(tmp_path: Path) -> None:
    """Accuracy, AUC and R² judged networks between networks before."""

    def asked(kind: str, **target) -> set[str]:
        chosen = {name: targets.ANALYSES[name] for name in ("barrier", "basin", "average", "spawn", "rewind")}
        study = Study.load(targets.write(tmp_path, kind, chosen, **target))
        steps = [step for step in analyses.plan(study).steps if "judged" in step.params]
        assert {step.task for step in steps} == {"line", "basin", "soup", "wise", "rewind"}
        return {str(step.params["judged"]) for step in steps}

    assert asked("numbers") == asked("grades") == asked("gaps") == {""}
    assert asked("grades", metric="accuracy") == asked("numbers", metric="r2") == asked("gaps", metric="auc") == {""}
    assert asked("grades", metric="kappa") == {"kappa"} and asked("numbers", metric="spearman") == {"spearman"}


def test_what_says_nothing_new_keeps_its_keys_and_what_does_has_its_own(tmp_path: Path) -> None:
    def key(**target) -> str:
        return Study.load(targets.write(tmp_path, "grades", {"transfer": {}}, **target)).data("signals").key

    assert len({key(task=None), key(), key(metric="accuracy"), key(metric="kappa")}) == 4
    assert key(blank=0, task=None) != key(), "an option that is said is part of the question"


def test_what_cannot_go_by_a_metric_says_so(tmp_path: Path) -> None:
    """Criticality counts wrong answers; one line between two targets has one score."""
    file = targets.write(tmp_path, "grades", {"criticality": {}, "crossdomain": {}}, metric="kappa")
    said = yaml.safe_load(file.read_text(encoding="utf-8"))

    def told(**more) -> dict[str, list[str]]:
        study = {**said, "targets": {**said["targets"], "other": {**said["targets"]["signals"], **more}}}
        file.write_text(yaml.safe_dump(study, sort_keys=False), encoding="utf-8")
        of = Study.load(file)
        return {name: list(one.unswayed(of)) for name, one in analyses.chosen(of).items() if name != "images"}

    both = told()
    assert both["crossdomain"] == [] and "whatever metric: says (signals, other)" in both["criticality"][0]
    apart = told(metric="accuracy")
    assert "targets with metrics of their own (signals, other) are scored by the usual one" in apart["crossdomain"][0]
    assert "whatever metric: says (signals), of which" in apart["criticality"][0]


@pytest.mark.parametrize(
    ("kind", "target", "changes", "sentence"),
    [
        ("numbers", {}, ("analyses={criticality: {}}",), "analyses.criticality: it counts wrong answers"),
        ("numbers", {}, ("analyses={crossdomain: {}}",), "analyses.crossdomain: it scores one network on the numbers"),
        ("numbers", {}, ("recipe.label_smoothing=0.1",), "recipe.label_smoothing: it is for classes"),
        ("numbers", {}, ("recipe.sampler=balanced",), "recipe.sampler: it is for classes"),
        ("numbers", {"metric": "auc"}, (), "metric: 'auc' is not for task: regression; write one of r2, spearman, rm"),
        ("numbers", {"task": "ordinal"}, (), "y is float64 of shape (160, 2)"),
        ("numbers", {"task": None}, (), "numbers to predict need task: regression"),
        ("grades", {"loss": "huber"}, (), "loss: 'huber' is for task: regression"),
        ("grades", {"metric": "r2"}, (), "metric: 'r2' is not for task: ordinal; write one of accuracy,"),
        ("grades", {"metric": "kapa"}, (), "targets.signals: metric: there is no 'kapa'; did you mean 'kappa'?"),
        ("grades", {"task": None, "metric": "auc"}, (), "metric: 'auc' cannot judge 4 exclusive classes"),
        ("gaps", {"blank": None}, (), "blank: ignore takes NaN and -1 for labels that are not known"),
        ("gaps", {"task": "ordinal"}, (), "task: ordinal is for one grade an"),
        ("gaps", {}, ("analyses={choose: {}}",), "analyses.choose: its scores need every label"),
        ("grades", {"ref": "digits", "task": "regression"}, (), "task: the source 'digits' of 'digits' gives classes"),
    ],
)
def test_what_cannot_be_is_one_sentence(tmp_path: Path, call, kind, target, changes, sentence) -> None:
    targets.write(tmp_path, kind, {"transfer": {}}, **target)
    found = call("check", *(word for change in changes for word in ("--set", change)), cwd=tmp_path)
    said = found.out + found.err
    assert found.code in (2, 3) and sentence in said and "Traceback" not in said, said


def test_init_proposes_regression_for_numbers_that_measure_and_grades_when_told(tmp_path: Path, call) -> None:
    targets.write(tmp_path, "numbers")
    how = ("--network", "newcomers.series:small", "--weights", "file:w_1.safetensors", "--force")
    wrote = call("init", "numbers.npz", *how, cwd=tmp_path)
    assert wrote.code == 0 and "2 numbers" in wrote.out and "which are predicted (task: regression" in wrote.out, (
        wrote.err
    )
    said = yaml.safe_load((tmp_path / "study.yaml").read_text(encoding="utf-8"))["targets"]["numbers"]
    assert said == {"ref": "npz:numbers.npz", "task": "regression"}
    checked = call("check", "--set", "recipe.epochs=1", cwd=tmp_path)
    assert checked.code == 0, checked.out + checked.err
    assert call("init", "grades.npz", *how, cwd=tmp_path).out.count("task") == 0, "four whole numbers are classes"
    wrote = call("init", "grades.npz", *how, "--task", "ordinal", cwd=tmp_path)
    assert wrote.code == 0 and "Classes are taken for grades" in wrote.out and "4 grades" in wrote.out
    assert call("init", "grades.npz", *how, "--task", "guess", cwd=tmp_path).code == 2
