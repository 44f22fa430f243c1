"""The basin analysis: its numbers are the probe's, its verdict on claim 8 heeds the noise of the draws, its gaps."""

import numpy as np
import polars as pl
import pytest
from smoke import study as smoke

from transferscope import analyses
from transferscope.engine.table import ResultTable
from transferscope.errors import UserError
from transferscope.probes.result import load
from transferscope.study import Study

from .conftest import finish

module = analyses.load("basin")
TINY = "samples: 4, draws: 2, per_weight: [0.01, 0.1], images: 24, statistics: 16, limit: 0.2"


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    options = f"{{basin: {{{TINY}, arms: [pretrained, random]}}}}"
    return finish(smoke.write(tmp_path_factory.mktemp("basin")), {"analyses": options})


def test_rows_are_those_of_the_saved_result(finished):
    cells = [cell for cell in finished.plan.cells if cell.analysis == "basin"]
    assert [c.labels["pair"] for c in cells] == ["P-T & P-T", "RI-T & RI-T"]
    for cell in cells:
        artifact = finished.store.get(cell.step)
        found = load(artifact.path / "basin.safetensors")
        assert len(found.alphas) == 4 and found.noisy.shape[1:] == (2, 2) and found.images == 24
        mean = found.losses.mean()
        for row, noisy in zip(artifact.rows, found.noisy, strict=True):
            assert row["epsilon"] == pytest.approx(np.abs(found.losses - mean).mean())
            assert row["noise"] == pytest.approx(noisy.mean() - mean)
            assert row["delta"] == pytest.approx(row["per_weight"] * np.sqrt(row["size"]))
            assert row["at"] == pytest.approx(found.at.mean()) and row["own"] == pytest.approx(found.own.mean())
            assert row["found_delta"] == found.delta and row["head"] == "shared"


def test_section_draws_everything(finished):
    section = finished.section("basin")
    assert [c.name for c in section.charts] == ["shapes-floor", "shapes-walls"]
    assert all(c.spec.to_dict() for c in section.charts) and section.tables[0].rows.height == 2
    tuned, scratch = section.findings
    assert tuned.claim == 8 and tuned.verdict == "open" and tuned.n == 2 and scratch.claim is None


def made(margin, error, seeds=8):
    """Pairs whose rises off the ends exceed 2 epsilon by `margin` points, known to `error`."""
    rows = []
    for seed in range(1, seeds):
        over = margin + 0.001 * (seed % 3 - 1)
        held = over >= 0
        rows.append(
            {
                "target": "t",
                "pair": "P-T & P-T",
                "seed": seed,
                "seed_b": seed - 1,
                "per_weight": 0.01,
                "delta": 20.0,
                "twice_epsilon": 0.01,
                "noise": 0.01 + over,
                "noise_error": error,
                "beyond": 0.01 + over,
                "beyond_error": error,
                "holds": held,
                "loss": "error",
                "mean": 0.2,
                "epsilon": 0.005,
                "epsilon_error": 0.001,
                "found_delta": 20.0 if held else None,
                "sure": over > 2 * error,
                "first_end": -0.2,
                "second_end": 1.3,
                "first_reached": True,
                "second_reached": True,
                "length": 12.0,
                "size": 4_000_000,
                "images": 250,
                "samples": 10,
                "draws": 4,
                "head": "shared",
                "failing": "" if held else "condition 3 (worse past the ends)",
            }
        )
    return ResultTable(pl.DataFrame(rows))


@pytest.mark.parametrize(
    ("margin", "error", "verdict"),
    [(0.1, 0.01, "supports"), (-0.1, 0.01, "contradicts"), (0.1, 0.08, "open"), (0.01, 0.01, "open")],
)
def test_verdict_on_claim_eight(margin, error, verdict):
    (judged,) = module.section(made(margin, error), module.Options()).findings
    assert judged.verdict == verdict and judged.n == 8 and judged.effect == pytest.approx(100 * margin, abs=0.1)
    assert ("is a basin: epsilon is 0.5 points" in judged.text) == (verdict == "supports")
    assert ("may be a basin, but" in judged.text) == (verdict == "open")
    assert ("NOT shown" in judged.text and "for condition 3 (worse past the ends) fails" in judged.text) == (margin < 0)
    assert module.section(made(margin, error, seeds=2), module.Options()).findings[0].verdict == "open"


def test_text_says_how_large_it_is():
    text = module.section(made(0.1, 0.01), module.Options()).findings[0].text
    assert "extended by 25% of its length past either end" in text and "delta 20 (0.01 per weight)" in text


def test_section_survives_gaps(finished):
    assert module.section(ResultTable(pl.DataFrame()), module.Options()).notes
    table = finished.table("basin")
    assert module.section(ResultTable(table.rows.head(1)), module.Options()).findings
    lost = table.rows.with_columns(pl.lit(None, pl.Float64).alias("found_delta"))
    assert module.section(ResultTable(lost, (), table.artifacts), module.Options()).findings


def test_an_unknown_arm_is_refused(tmp_path):
    study = Study.load(smoke.write(tmp_path), {"analyses": "[basin]"})
    with pytest.raises(UserError, match=r"analyses\.basin\.arms: 'stats'"):
        list(module.plan(study, module.Options(arms=["stats"])))


def test_an_end_that_the_search_did_not_reach_is_told():
    table = made(0.1, 0.01)
    assert "the search stopped" not in module.section(table, module.Options()).findings[0].text
    rows = table.rows.with_columns(second_reached=pl.lit(False))
    text = module.section(ResultTable(rows), module.Options()).findings[0].text
    assert "(at 7 of 14 ends the search stopped with the error still low)" in text
    part = made(0.1, 0.08).rows.with_columns(
        found_delta=pl.when(pl.col("seed") < 3).then(pl.col("found_delta")), sure=pl.lit(False)
    )
    assert (
        "may be a basin for 2 of 7 pairs, but" in module.section(ResultTable(part), module.Options()).findings[0].text
    )


def test_a_basin_without_extent_is_told():
    rows = made(0.1, 0.01).rows.with_columns(
        told=pl.when(pl.col("seed") < 3).then(pl.lit("The segment could not be extended: past.")).otherwise(pl.lit(""))
    )
    text = module.section(ResultTable(rows), module.Options()).findings[0].text
    assert "it could not be extended (2 of 7 pairs)." in text and "plateau" not in text
    flat = made(0.0, 0.0).rows.with_columns(told=pl.lit("The loss is the same: a plateau, whose basin has no walls."))
    assert "so the basin has no size." in module.section(ResultTable(flat), module.Options()).findings[0].text
