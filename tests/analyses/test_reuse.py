"""The reuse analysis: its starts, cut points and shares on made-up runs, and on the smoke study."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from safetensors.torch import load_file
from smoke import study as smoke

from transferscope import analyses
from transferscope.analyses._shared import outcomes
from transferscope.engine.table import ResultTable
from transferscope.errors import UserError
from transferscope.measures.intervals import mean_interval
from transferscope.study import Study

from .conftest import finish

module = analyses.load("reuse")
OPTIONS = "{reuse: {at: every, controls: [stats, permuted], epochs: 1}}"


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    return finish(smoke.write(tmp_path_factory.mktemp("reuse")), {"analyses": OPTIONS})


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return Study.load(smoke.write(tmp_path), {"analyses": "[transfer]"})


def test_starts_are_those_that_were_asked_for(done):
    """transfuse:K has the pretrained tensors of the first K blocks and the random ones above, at epoch 0."""
    pretrained = load_file(done.study.folder / "weights.safetensors")
    cells = [c for c in done.plan.cells if c.analysis == "reuse" and c.labels["seed"] == 0]
    assert [(c.labels["arm"], c.labels["blocks"], c.labels["upto"]) for c in cells] == [
        ("random", 0, "none"),
        ("stats", None, None),
        ("permuted", None, None),
        ("transfuse:1", 1, "0"),
        ("transfuse:2", 2, "3"),
        ("pretrained", 4, "all"),
    ]
    starts = {c.labels["arm"]: load_file(done.store.get(c.step).path / "epoch-0000.safetensors") for c in cells}
    for arm, kept in (("random", ()), ("transfuse:1", "0"), ("transfuse:2", "03"), ("pretrained", "036")):
        for block in "036":
            source = pretrained if block in kept else starts["random"]
            assert (starts[arm][f"{block}.weight"] == source[f"{block}.weight"]).all(), (arm, block)
    assert all(c.step.params["epochs"] == 1 for c in cells)


def test_plain_runs_are_the_ones_that_transfer_trains(study):
    mine = {(c["arm"], c["seed"]): step.key for c, step in module.plan(study, module.Options())}
    for labels, step in analyses.load("transfer").plan(study, analyses.load("transfer").Options()):
        assert mine[labels["arm"], labels["seed"]] == step.key


def test_cut_points(study, monkeypatch):
    def cuts(**options):
        return module.cuts(study, module.Options.model_validate(options))

    assert cuts() == cuts(at="every") == [1, 2]
    assert cuts(at="none") == []  # the controls alone
    assert cuts(at=["3", 1]) == [1, 2] and cuts(at=[2]) == [2]
    names = (*(f"b{i}" for i in range(18)), "fc")
    monkeypatch.setattr(module, "block_names", lambda *_: names)
    monkeypatch.setattr(module, "body_names", lambda *_: names[:-1])
    assert cuts() == [1, 5, 9, 13, 17] and cuts(at="every") == list(range(1, 18))
    with pytest.raises(UserError, match=r"no block 'b99'.*'b9'"):
        cuts(at=["b99"])
    for too_far in (18, 19, "b17", "fc"):
        with pytest.raises(UserError, match=r"nothing pretrained is left to leave out.* 1 to 17 .*'b16'"):
            cuts(at=[too_far])


def test_above_stats_starts_the_line_at_stats(study):
    starts = {c["arm"]: (c["blocks"], c["upto"]) for c, _ in module.plan(study, module.Options(above="stats"))}
    assert starts == {
        "random": (None, None),
        "stats": (0, "none"),
        "transfuse:1+stats": (1, "0"),
        "transfuse:2+stats": (2, "3"),
        "pretrained": (4, "all"),
    }


def test_a_study_without_weights_is_told_so(tmp_path):
    changes = {"analyses": "[reuse]", "pretrained": "null", "arms": "[random]"}
    study = Study.load(smoke.write(tmp_path), changes)
    with pytest.raises(UserError, match=r"analyses.reuse: .*add 'pretrained: ...'"):
        analyses.plan(study)


LEVELS = {
    "random": 0.50,
    "stats": 0.56,
    "transfuse:1": 0.60,
    "transfuse:2": 0.79,
    "transfuse:3": 0.80,
    "pretrained": 0.80,
}


def made(levels=LEVELS, seeds=7, noise=0.004, metric="accuracy"):
    draw = np.random.default_rng(0)
    places = {"random": (0, "none"), "stats": (None, None), "pretrained": (5, "all")}
    rows = []
    for arm, level in levels.items():
        k = arm.partition(":")[2]
        blocks, upto = places.get(arm) or (int(k), f"layer{k}")
        for seed in range(seeds):
            end = level + draw.normal(0, noise)
            for epoch, share in enumerate((0.2, 0.9, 1.0)):
                rows.append(
                    {
                        "target": "t",
                        "arm": arm,
                        "blocks": blocks,
                        "upto": upto,
                        "seed": seed,
                        "epoch": epoch,
                        "metric": metric,
                        "train_metric": end * share,
                        "val_metric": end * share,
                        "test_metric": end * share,
                        "train_loss": 1.0 - share,
                    }
                )
    return ResultTable(pl.DataFrame(rows, infer_schema_length=None))


def texts(table):
    return [f.text for f in module.section(table, module.Options()).findings]


def test_shares_are_those_of_the_paper():
    found = module.section(made(), module.Options()).findings
    assert found[0].effect == pytest.approx(100 * (0.80 - 0.56) / 0.80, abs=0.5) and found[0].n == 7
    assert "30% of the score is due to features" in found[0].text
    assert found[1].effect == pytest.approx(100 * (0.80 - 0.56) / (0.80 - 0.50), abs=2)
    assert "of the 30.0 points that pretraining adds" in found[1].text
    assert all(f.verdict is None for f in found)


def test_no_share_of_a_gain_that_is_not_there():
    table = made(LEVELS | {"random": 0.80})
    assert not any("adds to a random start" in text for text in texts(table))
    assert any("is not clear" in note for note in module.section(table, module.Options()).notes)
    assert "nothing of the score" in texts(made(LEVELS | {"stats": 0.82}, noise=0))[0]
    assert "not distinguishable from none" in texts(made(LEVELS | {"stats": 0.77}, seeds=3, noise=0.02))[0]


def about(table, word, **options):
    """The only finding with a word."""
    (text,) = (f.text for f in module.section(table, module.Options(**options)).findings if word in f.text)
    return text


def test_how_many_blocks_are_enough():
    text = about(made(LEVELS | {"transfuse:2": 0.76}), "are enough")
    assert "pretrained values up to layer3 are enough: with those above, at most 0." in text
    assert text.endswith(
        "points (one-sided 95%), within the margin of 2 points, are gained; those up to layer2 would cost more."
    )
    assert "up to layer2 are enough" in about(made(), "are enough") and "those up to layer1 would" in about(
        made(), "are enough"
    )
    level = made(dict.fromkeys(LEVELS, 0.8))
    assert "are needed in no block: without any, at most" in about(level, "needed in no block")
    assert "is undecided" in about(made(seeds=3, noise=0.03), "are enough")
    assert "whether those up to layer2 would do is undecided" in about(
        made(LEVELS | {"transfuse:2": 0.781}), "are enough"
    )
    below = made(LEVELS | {"transfuse:3": 0.7})
    assert "up to layer3 end more than 2 points below" in about(below, "up to layer3 end")
    assert "up to layer2 are enough" in about(below, "are enough", margin=12)
    dip = made(LEVELS | {"transfuse:2": 0.80, "transfuse:3": 0.7})
    assert about(dip, "layer3 end more than 2 points below"), "it must stay gained"
    assert "2 seeds do not tell" in about(made(dict.fromkeys(LEVELS, 0.8), noise=0, seeds=2), "are enough")


def test_speed_is_placed():
    found = texts(made())
    assert any("statistics alone change the optimisation speed from 47." in t for t in found)
    assert any(
        "gains most on average when pretrained values reach beyond layer1 up to layer2; the number beside it is" in t
        for t in found
    )


def test_one_seed_makes_no_claim():
    section = module.section(made(seeds=1), module.Options())
    assert any("1 seed does not tell whether they end less or more" in f.text for f in section.findings)
    assert all(f.low is None for f in section.findings)


def test_section_of_the_smoke_study_draws_everything(done):
    section = done.section("reuse")
    assert [c.name for c in section.charts] == ["shapes-final", "shapes-speed", "shapes-curves"]
    assert all(c.spec.to_dict() for c in section.charts) and section.tables[0].rows.height == 6
    assert section.findings


@pytest.mark.parametrize("lost", [*LEVELS, "all but stats", "test_metric"])
def test_section_survives_gaps(lost):
    rows = made().rows
    if lost == "test_metric":
        rows = rows.with_columns(pl.lit(None, pl.Float64).alias(lost))
    else:
        rows = rows.filter(pl.col("arm") == "stats" if lost == "all but stats" else pl.col("arm") != lost)
    section = module.section(ResultTable(rows), module.Options())
    assert all(c.spec.to_dict() for c in section.charts)
    assert all("nan" not in f.text for f in section.findings)
    assert module.section(ResultTable(pl.DataFrame()), module.Options()).notes


def test_auc_is_called_auc():
    found = module.section(made(metric="auc"), module.Options()).findings
    assert "test AUC" in found[0].text and "points of AUC" in found[1].text


def test_a_share_is_one_of_means_with_fiellers_interval():
    """One seed whose gain is near 0 must not make the share; the interval is where a t test of x - r y holds 0."""
    x, y = np.array([3.0, 3.2, 2.8, 3.1, 2.9, 3.0]), np.array([5.0, 5.1, 4.9, 5.2, 4.8, 0.2])
    found = outcomes.share(x, y)
    assert found.mean == pytest.approx(100 * 3 / 4.2) and np.mean(100 * x / y) > 290
    inside = [r for r in np.linspace(0, 300, 30001) if not mean_interval(x - r / 100 * y).excludes(0)]
    assert found.low == pytest.approx(inside[0], abs=0.02) and found.high == pytest.approx(inside[-1], abs=0.02)
    assert outcomes.share([1.0, 1.0], [1.0, -0.5]).low is None and outcomes.share([1.0], [2.0]).low is None


def test_a_share_outside_of_the_gain_is_said_in_words():
    assert any("nothing is due to features" in t for t in texts(made(LEVELS | {"stats": 0.85})))
    assert any("all is due to features" in t for t in texts(made(LEVELS | {"stats": 0.45})))
    assert any("would be due to features" in t for t in texts(made(LEVELS | {"stats": 0.77}, seeds=3, noise=0.02)))
