"""The barrier analysis: its numbers from the runs' own weights, its verdict on claim 7, its gaps."""

import numpy as np
import polars as pl
import pytest
import torch
from smoke import study as smoke

from transferscope import analyses
from transferscope.analyses.barrier.basins import basins, groups
from transferscope.engine.table import Missing, ResultTable
from transferscope.errors import UserError
from transferscope.measures import metrics
from transferscope.models.norm import refresh_batch_norm
from transferscope.models.weights import blend
from transferscope.study import Study
from transferscope.tasks import restore

from .conftest import finish

module = analyses.load("barrier")
OPTIONS = "{images: 24, statistics: 16, alphas: 5, same_init: true, align: true, batch_norm: [refresh, average]}"


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return finish(smoke.write(tmp_path_factory.mktemp("barrier")), {"analyses": f"{{barrier: {OPTIONS}}}"})


def test_every_kind_of_pair_is_planned_once(finished):
    cells = [cell for cell in finished.plan.cells if cell.analysis == "barrier"]
    kinds = [(cell.labels["pair"], cell.labels["batch_norm"]) for cell in cells]
    counts = {kind: kinds.count((kind, "refresh")) for kind, _ in kinds}
    assert counts == {
        "P-T & P-T": 1,
        "RI-T & RI-T": 1,
        "RI-T & RI-T (aligned)": 1,
        "P-T & RI-T": 2,
        "P-T best & last": 2,
        "RI-T best & last": 2,
        "RI-T & RI-T (same init)": 2,
    }
    assert len(kinds) == 2 * sum(counts.values()) and len(finished.plan.todo(finished.store)) == 0
    forks = {cell.step.params["b"].key for cell in cells if cell.labels["pair"].endswith("(same init)")}
    assert len(forks) == 2 and not forks & {run.key for run in _runs(finished.study)}


def _runs(study):
    return [study.run("shapes", arm, seed) for arm in study.arms for seed in study.seeds]


def test_points_are_those_of_a_slow_walk(finished):
    cell = next(c for c in finished.plan.cells if c.labels.get("pair") == "RI-T & RI-T")
    rows = finished.store.get(cell.step).rows
    a, b, data = (finished.store.get(cell.step.params[name]) for name in ("a", "b", "data"))
    test = list(restore.batches(a, data, "test", images=24))
    train = torch.cat([x for x, *_ in restore.batches(a, data, "train", images=16)])
    x, y = torch.cat([x for x, *_ in test]), np.concatenate([np.asarray(labels) for _, labels, *_ in test])
    assert [row["alpha"] for row in rows] == [0, 0.25, 0.5, 0.75, 1]
    for row in rows:
        net = restore.bare(a, data)
        net.load_state_dict(blend(restore.weights(a), restore.weights(b), row["alpha"]))
        if row["alpha"] in (0, 1):
            with torch.no_grad():
                assert row["own_metric"] == pytest.approx(metrics.accuracy(net.eval()(x).double().numpy(), y), abs=1e-9)
        else:
            assert row["own_metric"] is None and row["differs"] is None
        refresh_batch_norm(net, [train])
        with torch.no_grad():
            out = net.eval()(x).double().numpy()
        assert row["loss"] == pytest.approx(metrics.cross_entropy(out, y), abs=1e-3)
        assert row["metric"] == pytest.approx(metrics.accuracy(out, y), abs=1 / 24 + 1e-9)
    curve = 1 - np.array([row["metric"] for row in rows])
    frankle, chord = curve.max() - (curve[0] + curve[-1]) / 2, (curve - np.linspace(curve[0], curve[-1], 5)).max()
    assert frankle - 0.2 < rows[0]["barrier"] <= frankle + 1e-9, "24 images: chosen on some and read on others"
    assert chord - 0.2 < rows[0]["chord_barrier"] <= chord + 1e-9
    assert rows[0]["barrier_low"] <= rows[0]["barrier"] <= rows[0]["barrier_high"] and rows[0]["images"] == 24
    assert rows[0]["head"] == "shared"


def test_section_draws_everything(finished):
    section = finished.section("barrier")
    assert any(
        note.startswith("All points of a line, its ends too, have batch-norm statistics") and "own statistics" in note
        for note in section.notes
    )
    assert {"first (own statistics)", "second (own statistics)"} <= set(section.tables[0].rows.columns)
    assert [c.name for c in section.charts] == ["shapes-lines", "shapes-barriers"]
    assert all(c.spec.to_dict() for c in section.charts)
    (judged,) = [f for f in section.findings if f.claim == 7]
    assert judged.verdict == "open" and judged.n == 2 and "whose heads began with the same values" in judged.text
    said = " ".join(f.text for f in section.findings)
    assert "from one random start" in said and "matching the units" in said and "averaged like the weights" in said
    assert section.tables[0].rows.height == 2 * 11


def made(tuned, scratch, seeds=8, head="shared", ends=0.75):
    """Curves of neighbouring pairs with given barriers in the middle, a little different from pair to pair."""
    rows = []
    draw = np.random.default_rng(0)
    for kind, height in (("P-T & P-T", tuned), ("RI-T & RI-T", scratch), ("P-T & RI-T", 0.5)):
        for seed in range(1, seeds):
            bump = height + draw.normal(0, 0.002)
            labels = {"target": "t", "pair": kind, "seed": seed, "seed_b": seed - 1, "batch_norm": "refresh"}
            for alpha in (0.0, 0.5, 1.0):
                metric = ends - (bump if alpha == 0.5 else 0)
                barrier = max(height, 0.0) + bump - height  # a reading, which may lie below 0
                rows.append(
                    {
                        **labels,
                        "split": "test",
                        "alpha": alpha,
                        "measure": "accuracy",
                        "metric": metric,
                        "loss": 1.0,
                        "images": 400,
                        "points": 3,
                        "head": head,
                        "barrier": barrier,
                        "barrier_low": barrier - 0.01,
                        "barrier_high": barrier + 0.01,
                        "barrier_at": 0.5,
                        "chord_barrier": barrier,
                        "chord_low": barrier - 0.01,
                        "chord_high": barrier + 0.01,
                        "loss_barrier": 0.1,
                        "statistics": "re-estimated",
                    }
                )
    return ResultTable(pl.DataFrame(rows))


@pytest.mark.parametrize(
    ("tuned", "scratch", "verdict", "words"),
    [
        (0.005, 0.4, "supports", "connect: "),
        (-0.01, 0.4, "supports", "connect: "),
        (0.08, 0.4, "contradicts", "do NOT connect: "),
        (0.005, 0.004, "contradicts", "connect: "),
        (0.02, 0.4, "open", "not shown to connect, nor to be apart: "),
    ],
)
def test_verdict_on_claim_seven(tuned, scratch, verdict, words):
    section = module.section(made(tuned, scratch), module.Options())
    (judged,) = [f for f in section.findings if f.claim == 7]
    assert judged.verdict == verdict and judged.n == 8 and words.rstrip() in judged.text
    few = module.section(made(tuned, scratch, seeds=2), module.Options())
    assert [f.verdict for f in few.findings if f.claim == 7] == ["open"]


def test_a_rise_in_the_middle_is_told():
    section = module.section(made(-0.01, 0.4), module.Options())
    middle = next(f for f in section.findings if "middle of the line" in f.text)
    assert middle.effect == pytest.approx(1.0, abs=0.2)
    assert "scores 75.9%, its ends 75.0%" in middle.text


def test_heads_of_their_own_are_named():
    section = module.section(made(0.19, 0.4, head="own"), module.Options())
    judged = next(f for f in section.findings if f.claim == 7)
    assert "with heads begun at random each do NOT connect" in judged.text
    assert any("head: per-seed" in note for note in section.notes)


def test_section_survives_gaps(finished):
    empty = ResultTable(pl.DataFrame(), (Missing({"pair": "P-T & P-T"}, "failed"),))
    assert module.section(empty, module.Options()).notes
    whole = finished.table("barrier").rows
    for kind in whole["pair"].unique():
        part = ResultTable(whole.filter(pl.col("pair") == kind))
        assert all(c.spec.to_dict() for c in module.section(part, module.Options()).charts)
    lost = whole.with_columns(pl.lit(None, pl.Float64).alias(n) for n in ("metric", "barrier", "chord_barrier"))
    assert module.section(ResultTable(lost), module.Options()).title


def test_options_refuse_what_is_not_there():
    with pytest.raises(UserError, match="pairs"):
        analyses.options("barrier", {"pairs": ["neighbours"]})
    with pytest.raises(UserError, match="alphas"):
        analyses.options("barrier", {"alphas": 2})
    assert analyses.options("barrier", {"alphas": 50}).alphas == 50


def test_a_grown_study_keeps_its_lines(tmp_path):
    path = smoke.write(tmp_path)
    few, many = (Study.load(path, {"seeds": count, "analyses": "[barrier]"}) for count in ("2", "3"))
    keys = [{step.key for _, step in module.plan(study, module.Options())} for study in (few, many)]
    assert keys[0] < keys[1]


def test_words_fit_the_numbers():
    """Scratch connects "too" only where fine-tuned networks do; means over lines and the split are named."""
    both, alone = (module.section(made(tuned, 0.0), module.Options()) for tuned in (0.005, 0.3))
    said = [" ".join(f.text for f in section.findings) for section in (both, alone)]
    assert "connect, too" in said[0] and "connect, too" not in said[1]
    assert "(the worst place of each line, averaged over 7 lines; chosen on some images, read on others)" in said[1]
    rows = made(0.3, 0.4).rows.with_columns(split=pl.lit("val"))
    section = module.section(ResultTable(rows), module.Options(splits=("val",)))
    text = " ".join(f.text for f in section.findings)
    assert "the val accuracy falls" in text and "the test accuracy" not in text
    drawn = str(section.charts[0].spec.to_dict())
    assert "val accuracy" in drawn and "test accuracy" not in drawn


def test_another_treatment_of_statistics_is_named():
    rows = made(0.3, 0.4).rows.with_columns(batch_norm=pl.lit("average"))
    section = module.section(ResultTable(rows), module.Options(batch_norm=("average",)))
    judged = next(f for f in section.findings if f.claim == 7)
    assert "with batch-norm statistics averaged like the weights" in judged.text
    usual = module.section(made(0.3, 0.4), module.Options())
    assert "batch-norm statistics" not in next(f for f in usual.findings if f.claim == 7).text


@pytest.mark.parametrize("differs", [True, False])
def test_own_scores_that_differ_are_said(differs):
    rows = made(0.3, 0.4).rows
    ends = pl.col("alpha").is_in([0.0, 1.0])
    rows = rows.with_columns(own_metric=pl.when(ends).then(0.5), differs=pl.when(ends).then(pl.lit(differs)))
    note = next(n for n in module.section(ResultTable(rows), module.Options()).notes if n.startswith("All points"))
    assert ("on average 50.0% with its own, 75.0% on the line" in note) == differs
    assert ("score alike, within chance" in note) != differs


def test_networks_are_counted_by_basin() -> None:
    """Four networks: 0 and 1 joined, 2 and 3 too, two lines open, the rest apart."""
    heights = {(1, 0): (-0.01, 0.01), (3, 2): (0.0, 0.02), (2, 0): (0.05, 0.1), (3, 0): (0.0, 0.1), (2, 1): (0.03, 0.1)}
    rows = [
        {"pair": "P-T & P-T", "seed": a, "seed_b": b, "barrier_low": low, "barrier_high": high, "measure": "accuracy"}
        for (a, b), (low, high) in {**heights, (3, 1): (0.021, 0.3)}.items()
    ]
    (found,) = basins("skin", pl.DataFrame(rows))
    assert found.text == (
        "On skin, the 4 P-T lie in 1 to 2 basins: lines that fall by at most 2 points join the seeds 0 and 1 as well "
        "as 2 and 3; 1 of 6 lines leave it open (each line by its 95% interval over images)."
    )
    assert basins("skin", pl.DataFrame(rows[:5])) == [], "not all pairs were walked"
    apart = [
        {**row, "pair": "RI-T & RI-T", "barrier_low": 0.03, "barrier_high": 0.1}
        for row in rows
        if 3 not in (row["seed"], row["seed_b"])
    ]
    (found,) = basins("skin", pl.DataFrame(apart))
    assert found.text == (
        "On skin, the 3 RI-T lie in 3 basins: every line falls by more than 2 points (each line by its 95% "
        "interval over images)."
    )
    chain = [
        {**rows[0], "seed": a, "seed_b": b, "barrier_high": high} for a, b, high in ((1, 0, 0), (2, 0, 0), (2, 1, 1))
    ]
    (found,) = basins("skin", pl.DataFrame(chain, strict=False))
    assert "lie in 1 basin: " in found.text and "open" not in found.text, "the line left over changes nothing"


@pytest.mark.parametrize("seed", range(5))
def test_groups_are_those_of_scipy(seed: int) -> None:
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    draw = np.random.default_rng(seed)
    joined = [(int(a), int(b)) for a, b in draw.integers(0, 9, (5, 2)) if a != b]
    graph = coo_array((np.ones(len(joined)), tuple(np.array(joined, dtype=np.int32).T)), shape=(9, 9))
    count, labels = connected_components(graph, directed=False)
    found = groups(range(9), joined)
    assert len(found) == count and all(len({labels[name] for name in group}) == 1 for group in found)
