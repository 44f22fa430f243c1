"""The analysis `choose`: scores against a pass by hand, candidates that fail alone, what its section says."""

import json
import shutil
from pathlib import Path

import polars as pl
import pytest
import torch
from safetensors.torch import save_file
from smoke import nets
from smoke import study as smoke

from transferscope import analyses, battery
from transferscope.data import open_squares
from transferscope.data.batches import normalise
from transferscope.engine.store import Store
from transferscope.engine.table import ResultTable, gather
from transferscope.engine.task_context import Work
from transferscope.engine.worker import execute
from transferscope.errors import UserError
from transferscope.measures.h_score import h_score
from transferscope.measures.logme import logme
from transferscope.measures.ridge import ridge
from transferscope.measures.scores import SCORES, leep, softmax
from transferscope.study import Study

module = analyses.load("choose")

ASKED = """{choose: {against: all, candidates: {
    ours: {weights: "file:weights.safetensors"},
    scratch: {},
    wider: {network: "smoke.nets:wider"},
    scale: {arm: stats}}}}"""


def finished(folder: Path, choice: str, **changes: str) -> tuple[Study, list, Store, dict[str, str]]:
    """Every step of a smoke study done in this process; the reasons of those that failed, by key."""
    study = Study.load(folder / "study.yaml", {"analyses": choice, "recipe.epochs": "1", **changes})
    plan, store = battery.plan(study)
    store.prepare()
    reasons = {}
    for step in plan.todo(store):
        outcome = execute(step.job, store, Work(store.root))
        if outcome.error:
            reasons[step.key] = outcome.error
    return study, [cell for cell in plan.cells if cell.analysis == "choose"], store, reasons


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("choose")
    smoke.write(folder)
    return finished(folder, ASKED)


def test_scores_are_those_of_a_pass_by_hand(done) -> None:
    study, cells, store, reasons = done
    assert not reasons
    rows = {cell.labels["candidate"]: store.get(cell.step).rows[0] for cell in cells if cell.labels["what"] == "scores"}
    assert list(rows) == ["ours", "scratch", "wider", "scale"]
    table = open_squares(store.get(study.data("shapes")).path)
    chosen = table.rows["train"]
    net = nets.tiny(1000).eval()
    net.load_state_dict(nets.weights(seed=1))
    with torch.no_grad():
        hidden = net[:-1](normalise(table.gather(chosen, "eval")))
        logits = net[-1](hidden)
    labels, ours = table.labels[chosen], rows["ours"]
    assert ours["images"] == len(chosen) == 78
    assert ours["logme"] == pytest.approx(logme(hidden.numpy(), labels), abs=1e-5)
    assert ours["h_score"] == pytest.approx(h_score(hidden.numpy(), labels), abs=1e-3)
    assert ours["leep"] == pytest.approx(leep(softmax(logits.numpy()), labels), abs=1e-5)
    fitted = ridge(hidden.numpy(), labels)
    with torch.no_grad():
        answers = fitted.predict(net[:-1](normalise(table.gather(table.rows["val"], "eval"))).numpy()).argmax(1)
    assert ours["probe_metric"] == pytest.approx((answers == table.labels[table.rows["val"]]).mean())
    assert ours["source_classes"] == 1000 and ours["loaded"] == 1.0 and ours["dimensions"] == 24
    assert rows["wider"]["dimensions"] == 28 and rows["wider"]["leep"] is None
    assert rows["scratch"]["loaded"] is None and rows["scale"]["loaded"] == 1.0 and rows["scale"]["nce"] is None
    assert len({json.dumps([row[name] for name in SCORES]) for row in rows.values()}) == 4
    assert all(0 <= row["probe_metric"] <= 1 and row["metric"] == "accuracy" for row in rows.values())


def test_what_depends_on_the_clock_stays_out_of_the_rows(done, tmp_path: Path) -> None:
    _, cells, store, _ = done
    for cell in cells:
        if cell.labels["what"] == "scores":
            clock = json.loads((store.get(cell.step).path / "timing.json").read_text())
            assert {"features", "LogME", "H-score", "linear probe"} <= set(clock) and min(clock.values()) > 0
            assert not any("second" in name for name in store.get(cell.step).rows[0])
    other = Store(tmp_path / "store")
    shutil.copytree(store.root, other.root)
    step = cells[0].step
    other.remove(step.task, step.key)
    assert execute(step.job, other, Work(other.root)).status == "done"
    assert (other.get(step).path / "rows.json").read_bytes() == (store.get(step).path / "rows.json").read_bytes()


def test_the_truth_is_the_end_of_the_runs(done) -> None:
    study, cells, store, _ = done
    found = {
        (c.labels["candidate"], c.labels["seed"]): store.get(c.step).rows[0] for c in cells if c.labels["what"] == "run"
    }
    assert set(found) == {(name, seed) for name in ("ours", "scratch", "wider", "scale") for seed in (0, 1)}
    for name, arm in (("ours", "pretrained"), ("scratch", "random"), ("scale", "stats")):
        run = store.get(study.run("shapes", arm, 1))
        assert found[name, 1]["tuned_metric"] == run.rows[-1]["whole_test_metric"], "its own run"
    wider = next(c for c in cells if c.labels == {"what": "run", "target": "shapes", "candidate": "wider", "seed": 0})
    run = wider.step.params["run"]
    assert run.params["network"] == "smoke.nets:wider" and run.params["data"] == study.data("shapes")


def test_section_of_the_finished_study(done) -> None:
    study, cells, store, _ = done
    section = module.section(gather(cells, store), analyses.options("choose", study.analyses["choose"]))
    assert [c.name for c in section.charts] == ["shapes-scores", "shapes-truth", "shapes-agreement"]
    assert all(c.spec.to_dict() for c in section.charts)
    (view,) = section.tables
    assert view.rows.height == 4 and view.rows["seconds, features"].null_count() == 0
    assert view.rows["fine-tuned"].null_count() == 0 and "78 training images" in view.caption
    assert any("comes first of 4 networks" in f.text for f in section.findings)
    assert all(f.verdict is None for f in section.findings)
    assert any("LEEP" in note for note in section.notes)


def test_a_candidate_that_cannot_be_read_fails_alone(tmp_path: Path) -> None:
    smoke.write(tmp_path)
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "weights.safetensors").read_bytes()[:3000])
    save_file(nets.weights(1, nets.wider(1000)), tmp_path / "other.safetensors")
    names = ("missing", "cut", "other")
    listed = ", ".join(f'{name}: {{weights: "file:{name}.safetensors"}}' for name in names)
    listed += ', big: {network: "smoke.nets:hungry"}, good: {weights: "file:weights.safetensors"}'
    _, cells, store, reasons = finished(
        tmp_path, f"{{choose: {{candidates: {{{listed}}}, against: all, images: 40}}}}", seeds="1"
    )
    table = gather(cells, store, reasons)
    lost = {m.labels["candidate"]: m.reason for m in table.missing if m.labels["what"] == "scores"}
    assert set(lost) == {*names, "big"}
    assert "no file" in lost["missing"] and "missing.safetensors" in lost["missing"]
    assert "is cut short (3,000 of" in lost["cut"] and "cut.safetensors" in lost["cut"]
    assert "only 0.0% of the body" in lost["other"] and "3, 32, 32)" in lost["big"]
    assert all("\n" not in reason and reason.endswith(".") for reason in lost.values())
    kept = table.rows.filter(pl.col("what") == "scores")
    assert kept["candidate"].to_list() == ["good"] and kept["images"].to_list() == [40]
    section = module.section(table, module.Options())
    assert section.tables[0].rows.height == 1 and any("one candidate only" in note for note in section.notes)


def test_by_default_the_arms_and_the_checkpoints_are_candidates(tmp_path: Path) -> None:
    smoke.write(tmp_path)
    for epoch in (1, 2, 10):
        save_file(nets.weights(seed=epoch), tmp_path / f"epoch_{epoch}.safetensors")
    change = {"pretrained": '{series: "epoch_*.safetensors"}', "analyses": "[choose]", "seeds": "1"}
    study = Study.load(tmp_path / "study.yaml", change)
    cells = list(module.plan(study, module.Options()))
    assert [labels["candidate"] for labels, _ in cells] == [
        "random",
        "pretrained",
        "epoch_1.safetensors",
        "epoch_2.safetensors",
    ]
    assert {labels["what"] for labels, _ in cells} == {"scores"}, "nothing is trained for its own sake"
    shared = Study.load(tmp_path / "study.yaml", {**change, "analyses": "[choose, transfer, checkpoint]"})
    runs = [step.params["run"] for labels, step in module.plan(shared, module.Options()) if labels["what"] == "run"]
    asked = {step.key for _, step in analyses.load("transfer").plan(shared, analyses.load("transfer").Options())}
    lines = analyses.load("checkpoint").Options(lines=False)
    asked |= {step.key for _, step in analyses.load("checkpoint").plan(shared, lines)}
    assert len(runs) == 4 and {run.key for run in runs} <= asked
    none = [labels for labels, _ in module.plan(shared, module.Options(against="none"))]
    assert {labels["what"] for labels in none} == {"scores"}


def test_options_in_short_and_in_error(tmp_path: Path) -> None:
    given = {"candidates": ["timm:resnet18", "timm:tf_efficientnet_lite0 | package:efficientnet-lite0"]}
    found = analyses.options("choose", given).candidates
    assert [(c.network, c.weights) for c in found.values()] == [
        ("timm:resnet18", None),
        ("timm:tf_efficientnet_lite0", "package:efficientnet-lite0"),
    ]
    assert list(found) == ["resnet18 (random)", "tf_efficientnet_lite0 (efficientnet-lite0)"]
    (own,) = analyses.options("choose", {"candidates": ["| file:a/w.pth"]}).candidates.items()
    assert own[0] == "w.pth" and own[1].network is None and own[1].weights == "file:a/w.pth"
    alike = ["timm:resnet18 | file:a/w.pth", "timm:resnet18 | file:b/w.pth"]
    assert list(analyses.options("choose", {"candidates": alike}).candidates) == alike
    for bad, words in (
        ({"a": {"network": "resnet18"}}, "timm:resnet18"),
        ({"a": {"weights": "pakage:x"}}, "did you mean 'package'"),
        ({"a": {"arm": "pretraind"}}, "did you mean 'pretrained'"),
        ({"a": {"netwrk": "x"}}, "netwrk"),
        ({}, "candidates"),
    ):
        with pytest.raises(UserError) as caught:
            analyses.options("choose", {"candidates": bad})
        assert words in str(caught.value) and "\n" not in str(caught.value)
    smoke.write(tmp_path)
    study = Study.load(tmp_path / "study.yaml", {"analyses": "[choose]"})
    lost = analyses.options("choose", {"candidates": {"x": {"network": "smoke.nets:wider", "arm": "stats"}}})
    with pytest.raises(UserError, match="candidate 'x' needs weights for the arm 'stats'"):
        list(module.plan(study, lost))


def made(scores: dict[str, list[float | None]], tuned: list[float | None], seeds: int = 3) -> ResultTable:
    """Candidates a, b, c, ... with made-up scores and fine-tuned metrics."""
    rows = []
    for place, truth in enumerate(tuned):
        labels = {"what": "scores", "target": "t", "candidate": "abcdefgh"[place], "seed": None}
        values = {name: scores.get(name, [None] * len(tuned))[place] for name in SCORES}
        rows.append(
            {
                **labels,
                "metric": "accuracy",
                **values,
                "images": 100,
                "held_out": 20,
                "dimensions": 5,
                "source_classes": None,
                "parameters": 9,
                "loaded": 1.0,
            }
        )
        for seed in range(seeds) if truth is not None else ():
            rows.append(
                {**labels, "what": "run", "seed": seed, "metric": "accuracy", "tuned_metric": truth + seed / 1e3}
            )
    return ResultTable(pl.DataFrame(rows, infer_schema_length=None))


def texts(table: ResultTable) -> list[str]:
    section = module.section(table, module.Options())
    assert all(c.spec.to_dict() for c in section.charts)
    return [f.text for f in section.findings]


RISING = [0.5, 0.6, 0.7, 0.8, 0.9, 0.95]


def test_findings_on_agreement_and_on_what_a_wrong_choice_costs() -> None:
    section = module.section(made({"probe_metric": RISING, "logme": RISING[::-1]}, RISING), module.Options())
    first, probe, evidence, best = section.findings
    assert first.text == "On t, f comes first of 6 networks by 1 of 2 scores; LogME would take a."
    assert (
        probe.effect == 1 and probe.n == 6 and probe.counted == "networks" and "the linear probe orders" in probe.text
    )
    assert evidence.effect == -1 and evidence.text.startswith("On t, LogME orders 6 fine-tuned networks")
    assert "f, also fine-tunes best of the 6" in best.text
    wrong = module.section(made({"probe_metric": RISING[::-1]}, RISING), module.Options()).findings[-1]
    assert (
        wrong.effect == pytest.approx(45)
        and wrong.n == 3
        and "would take a" in wrong.text
        and "f reaches" in wrong.text
    )
    partly = made({"probe_metric": [0.5, 0.7, 0.6, 0.9], "logme": [1, 2, 3, 4]}, [0.1, 0.2, 0.3, 0.25])
    orders = [f for f in module.section(partly, module.Options()).findings if f.unit == "rank correlation"]
    assert [round(f.effect, 2) for f in orders] == [0.4, 0.8] and all(f.low < f.effect < f.high for f in orders)


def test_section_survives_what_is_missing() -> None:
    options = module.Options()
    assert module.section(ResultTable(pl.DataFrame()), options).notes
    untold = module.section(made({"probe_metric": RISING}, [None] * 6), options)
    assert [c.name for c in untold.charts] == ["t-scores"] and any(
        "No candidate was fine-tuned" in n for n in untold.notes
    )
    assert texts(made({"probe_metric": [0.5, None, 0.7]}, [0.1, 0.2, None]))
    assert texts(made({}, [0.1, 0.2])) == []
    assert texts(made({"probe_metric": [0.5, 0.5]}, [0.1, 0.2], seeds=1))
    only_runs = made({"probe_metric": RISING}, RISING).rows.filter(pl.col("what") == "run")
    assert module.section(ResultTable(only_runs), options).notes
    whole = made({"probe_metric": RISING, "logme": RISING}, RISING).rows
    for column in ("probe_metric", "tuned_metric"):
        texts(ResultTable(whole.with_columns(pl.lit(None, pl.Float64).alias(column))))


def test_scores_that_differ_by_rounding_elect_nobody() -> None:
    """With more dimensions than images every H-score is classes - 1, give or take the last digit."""
    scores = {"probe_metric": [0.5, 0.6, 0.7], "h_score": [4.0, 3.999999999999999, 3.9999999999999996]}
    assert "c comes first of 3 networks by 1 of 1 scores." in texts(made(scores, [None] * 3))[0]
