"""The criticality analysis: its numbers are the probe's, claims on made-up tables, valleys and gaps."""

import math

import numpy as np
import polars as pl
import pytest
from smoke import study as smoke

from transferscope import analyses, battery
from transferscope.analyses.criticality import step
from transferscope.engine.artifact import Artifact
from transferscope.engine.table import ResultTable
from transferscope.probes.blocks.criticality import criticality
from transferscope.study import Study
from transferscope.tasks import costs, restore

from .conftest import finish

module = analyses.load("criticality")
OPTIONS = "images: 24, alphas: 3, sigmas: 3, draws: 2, valley_images: 12, tolerance: 0.1"


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    return finish(smoke.write(tmp_path_factory.mktemp("criticality")), {"analyses": f"{{criticality: {{{OPTIONS}}}}}"})


def of(rows, **labels):
    return rows.filter(*(pl.col(name) == value for name, value in labels.items()))


def test_rows_are_those_of_the_probe(measured):
    cell = next(c for c in measured.plan.cells if c.analysis == "criticality" and c.labels["arm"] == "random")
    run, data = (measured.store.get(cell.step.params[name]) for name in ("run", "data"))
    net = restore.network(run, data)
    batches = list(restore.batches(run, data, "train", images=24))
    start = restore.weights(run, "start")
    wanted = criticality(
        net.state_dict(), start, batches, like=net, alphas=3, sigmas=3, draws=2, tolerance=0.1, seed=cell.labels["seed"]
    )
    rows = of(measured.table("criticality").rows, kind="score", **cell.labels)
    assert set(rows["basis"]) == {wanted.batch_norm} == {"re-estimated everywhere, on the 24 images evaluated"}
    assert set(rows["precision"]) == {"float32"}, "whatever the precision of training"
    assert set(rows["own_error"]) == {wanted.own_error}
    assert tuple(rows["block"]) == wanted.blocks == ("0", "3", "6", "11")
    for i, row in enumerate(rows.iter_rows(named=True)):
        assert row["at_least"] == math.isinf(wanted.mu[i])
        least = (wanted.distance[i] / (wanted.rms[i] * wanted.sigmas[0])) ** 2
        assert row["mu"] == pytest.approx(least if row["at_least"] else wanted.mu[i])
    assert rows["size"].to_list()[0] == sum(p.numel() for n, p in net.named_parameters() if n.startswith(("0.", "1.")))


def test_valleys_of_the_first_seed(measured):
    rows = of(measured.table("criticality").rows, kind="valley")
    assert set(rows["seed"]) == {0} and rows["block"].unique(maintain_order=True).to_list() == ["0", "6", "11"]
    assert rows.height == 2 * 3 * 3 * 4 and rows["error"].null_count() == 0
    section = measured.section("criticality")
    assert [chart.name for chart in section.charts] == ["shapes-blocks", "shapes-valleys"]
    drawn = section.charts[1].spec.to_dict()
    cells = next(iter(drawn["datasets"].values()))
    assert len({row["noise"] for row in cells}) == 7 and len(cells) == 2 * 3 * 3 * 7
    by = {(row["of"], row["way"], row["noise"]): row["error"] for row in cells}
    assert all(by[key] == by[(*key[:2], key[2].lstrip("-"))] for key in by), "mirrored"
    assert all(chart.spec.to_dict() for chart in section.charts)
    assert all(f.verdict in (None, "open") for f in section.findings)


BLOCKS = ["stem", "layer1.0", "layer1.1", "layer2.0", "layer2.1", "fc"]
LIKE_THE_PAPER = {"pretrained": [0, 0, 10, 100, 1e4, 1e6], "random": [1e6, 1e5, 10, 1e5, 1, 1e3]}


def made_up(mus, seeds=6):
    found = []
    for arm, of_arm in mus.items():
        for seed in range(seeds):
            for name, mu in zip(BLOCKS, of_arm, strict=True):
                found.append(
                    {
                        "target": "t",
                        "arm": arm,
                        "seed": seed,
                        "kind": "score",
                        "block": name,
                        "mu": None if mu is None else mu * (1 + 0.01 * seed),
                        "at_least": False,
                        "alpha": 1.0,
                        "sigma": 0.1,
                        "sigma_relative": 0.1,
                        "distance": 1.0,
                        "size": 10,
                        "evaluations": 3.0,
                        "error": 0.0,
                    }
                )
    return ResultTable(pl.DataFrame(found, infer_schema_length=None))


def verdicts(table):
    section = module.section(table, module.Options())
    return [finding.verdict for finding in section.findings if finding.claim == 9], section


def test_claim_9():
    found, section = verdicts(made_up(LIKE_THE_PAPER))
    assert found == ["supports", "supports"]
    assert verdicts(made_up(LIKE_THE_PAPER, seeds=2))[0] == ["open", "open"]
    other = {"pretrained": LIKE_THE_PAPER["pretrained"][::-1], "random": [0, 0, 1e4, 1, 1e5, 10]}
    found, contrary = verdicts(made_up(other))
    assert found == ["contradicts", "contradicts"]
    text = " ".join(finding.text for finding in contrary.findings)
    assert "does NOT rise" in text and "NOT more critical" in text
    few = " ".join(finding.text for finding in verdicts(made_up(other, seeds=1))[1].findings)
    assert "is not shown to rise" in few and "not shown to be more critical" in few, "no interval, no such sentence"
    first = section.findings[0]
    upper = np.mean([np.log10(1 + mu * (1 + 0.01 * s) / 10) for mu in (10, 100, 1e4) for s in range(6)])
    assert (
        first.effect == pytest.approx(upper) and "10^6.0 for P-T (99% of it in fc alone)" in section.findings[-1].text
    )
    assert "the median block's is 10^1.8 and 10^4.7" in section.findings[-1].text
    assert section.tables[1].rows["largest block"][0] == "99% of it in fc alone"


def test_advice():
    _, section = verdicts(made_up(LIKE_THE_PAPER))
    rows = section.tables[0].rows
    assert rows.columns[:3] == ["block", "P-T: do", "RI-T: do"]
    assert rows["P-T: do"].to_list() == [*["safe to freeze"] * 2, *["critical"] * 3, "head: train"]
    assert rows["RI-T: do"].to_list() == [*["critical"] * 4, "undecided", "head: train"]
    few = verdicts(made_up(LIKE_THE_PAPER, seeds=2))[1].tables[0].rows
    assert few["P-T: do"].to_list()[0] == "seems safe to freeze" and few["RI-T: do"][0] == "seems critical"
    one = verdicts(made_up(LIKE_THE_PAPER, seeds=1))[1].tables[0].rows
    assert set(one["RI-T: do"][:-1]) == {"one seed: undecided"}, "no interval, no verdict"


def test_section_survives_gaps(measured):
    assert module.section(ResultTable(pl.DataFrame()), module.Options()).notes
    whole = measured.table("criticality").rows
    for kept in (
        {"arm": "random"},
        {"arm": "pretrained"},
        {"seed": 0},
        {"seed": 1},
        {"kind": "valley"},
        {"block": "0"},
    ):
        section = module.section(ResultTable(of(whole, **kept)), module.Options())
        assert all(chart.spec.to_dict() for chart in section.charts)
        assert all("nan" not in finding.text for finding in section.findings)
    lost = made_up({"pretrained": [None] * 6, "random": [None, 1.0, None, 1.0, 1.0, 1.0]})
    assert all(chart.spec.to_dict() for chart in module.section(lost, module.Options()).charts)


def test_the_way_to_the_best_weights_ends_there(tmp_path):
    for name in ("epoch-0000", "epoch-0001", "epoch-0002", "epoch-0004"):
        (tmp_path / f"{name}.safetensors").touch()
    (tmp_path / "run.json").write_text('{"best_epoch": 3}')
    run = Artifact(tmp_path)
    assert step._epochs(run, "final") == ["epoch-0001", "epoch-0002", "epoch-0004"]
    assert step._epochs(run, "best") == ["epoch-0001", "epoch-0002"]


def test_path_and_grid_and_named_valleys(tmp_path):
    options = "images: 12, alphas: 2, sigmas: 2, draws: 1, valley_images: 8, path: optimisation, grid: true, "
    chosen = {"seeds": "1", "arms": "[random]", "analyses": f"{{criticality: {{{options} valleys: ['3']}}}}"}
    done = finish(smoke.write(tmp_path), chosen)
    rows = done.table("criticality").rows
    assert set(of(rows, kind="valley")["block"]) == {"3"}
    assert of(rows, kind="score")["evaluations"].to_list() == [3 * 2] * 4, "start, epoch 1, end"
    assert len(next(iter(done.section("criticality").charts[1].spec.to_dict()["datasets"].values()))) == 3 * 5
    assert all(chart.spec.to_dict() for chart in done.section("criticality").charts)


def test_valleys_have_a_grid_of_their_own(tmp_path):
    """As fine as a figure needs, levels of noise by number or by value, and the scores are those of the coarse one."""
    fine = "valleys: ['6'], valley_alphas: 9, valley_sigmas: [0.1, 0.2, 0.3, 0.4]"
    options, none = "images: 24, alphas: 3, sigmas: 3, draws: 1, valley_images: 12, tolerance: 0.1", "valleys: none"
    study = smoke.write(tmp_path)
    measured = finish(
        study,
        {
            "analyses": f"{{criticality: {{{options}, {fine}}}, plain: {{type: criticality, {options}, {none}}}}}",
            "seeds": "1",
            "arms": "[random]",
        },
    )
    rows = of(measured.table("criticality").rows, kind="valley")
    assert rows.height == 9 * (4 + 1)
    assert rows["alpha"].unique().sort().to_list() == pytest.approx(np.linspace(0, 1, 9).tolist())
    assert rows["sigma_relative"].unique().sort().to_list() == [0.0, 0.1, 0.2, 0.3, 0.4]
    scores = [of(measured.table(name).rows, kind="score")["mu"].to_list() for name in ("criticality", "plain")]
    assert scores[0] == scores[1]
    (chart,) = (c for c in measured.section("criticality").charts if c.name == "shapes-valleys")
    cells = next(iter(chart.spec.to_dict()["datasets"].values()))
    assert len(cells) == 9 * (2 * 4 + 1)


def test_the_grid_of_the_scores_is_not_said_twice(tmp_path):
    """Options that valleys do not have leave the step as it was, so that what was measured is found."""
    study = smoke.write(tmp_path)
    keys = []
    for more in ("", ", valley_alphas: null, valley_sigmas: null", ", valley_sigmas: 20"):
        plan, _ = battery.plan(Study.load(study, {"analyses": f"{{criticality: {{{OPTIONS}{more}}}}}"}))
        keys.append([cell.step.key for cell in plan.cells if cell.step.task == "criticality"])
    assert keys[0] == keys[1] != keys[2]
    asked = {**module.Options().model_dump(), "valleys": ["fc"]}
    same, fine = ({"valley_alphas": a, "valley_sigmas": s} for a, s in ((6, [0.1] * 6), (40, 20)))
    assert costs.criticality(asked) == costs.criticality({**asked, **same}) < costs.criticality({**asked, **fine})
