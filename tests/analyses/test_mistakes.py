"""The mistakes analysis: its numbers from the runs' own predictions, its pictures, its verdict, its gaps."""

import numpy as np
import polars as pl
import pytest
from pairing import seeds_of

from transferscope import analyses
from transferscope.analyses.mistakes import pictures
from transferscope.data import open_squares
from transferscope.engine.table import Missing, ResultTable
from transferscope.errors import UserError
from transferscope.measures.agreement import Agreement

module = analyses.load("mistakes")


def cells(finished):
    return [cell for cell in finished.plan.cells if cell.analysis == "mistakes"]


def test_counts_are_those_of_the_saved_predictions(finished):
    table = finished.table("mistakes")
    assert {cell.labels["pair"] for cell in cells(finished)} == {"P-T & P-T", "RI-T & RI-T", "P-T & RI-T"}
    for cell in cells(finished):
        data = open_squares(finished.store.get(cell.step.params["data"]).path)
        y = data.labels[data.rows["test"]]
        runs = [finished.store.get(cell.step.params[side]) for side in "ab"]
        a, b = (run.arrays("predictions-final")["test"].argmax(1) != y for run in runs)
        row = table.rows.filter(
            (pl.col("pair") == cell.labels["pair"])
            & (pl.col("seed") == cell.labels["seed"])
            & (pl.col("group") == "all")
        ).row(0, named=True)
        assert (row["n"], row["common"], row["only_a"], row["only_b"]) == (
            len(y),
            (a & b).sum(),
            (a & ~b).sum(),
            (~a & b).sum(),
        )


def made(agree_tuned, agree_scratch, seeds=7):
    """Rows of pairs with a given number of common mistakes out of 40 in 100, a little different from seed to seed."""
    rows = []
    draw = np.random.default_rng(0)
    for kind, common in (("P-T & P-T", agree_tuned), ("RI-T & RI-T", agree_scratch), ("P-T & RI-T", 15)):
        for seed, before in seeds_of(kind, seeds):
            c = int(common + draw.integers(-2, 3))
            labels = {"target": "t", "pair": kind, "seed": seed, "seed_b": before}
            rows.append({**labels, **Agreement("all", 100, c, 40 - c, 50 - c).row()})
    return ResultTable(pl.DataFrame(rows))


def test_verdict_on_claim_four():
    for tuned, scratch, verdict in ((35, 20, "supports"), (20, 35, "contradicts"), (27, 27, "open")):
        (judged,) = [f for f in module.section(made(tuned, scratch), module.Options()).findings if f.claim == 4]
        assert judged.verdict == verdict, judged
    assert ("more" in judged.text or "fewer" in judged.text) and judged.n == 7
    few = module.section(made(35, 20, seeds=2), module.Options())
    assert [f.verdict for f in few.findings if f.claim == 4] == ["open"]


def test_what_pretraining_mends_is_counted():
    section = module.section(made(35, 20), module.Options())
    text = section.findings[-1].text
    assert "of the 50 mistakes that RI-T makes in 100 test answers, P-T gets" in text and section.findings[
        -1
    ].effect == pytest.approx(10)


def test_section_draws_everything(finished):
    section = finished.section("mistakes")
    assert [c.name for c in section.charts] == ["shapes-kappa", "shapes-jaccard"]
    assert all(c.spec.to_dict() for c in section.charts)
    whole = finished.table("mistakes").rows.filter((pl.col("group") == "all") & (pl.col("pair") == "P-T & RI-T"))
    first = whole.sort("seed").row(0, named=True)
    kinds = {"P-T": first["only_a"], "RI-T": first["only_b"], "P-T and RI-T": first["common"]}
    assert len(section.pictures) == sum(count > 0 for count in kinds.values())
    assert all(p.png.startswith(b"\x89PNG") and len(p.png) < 200_000 for p in section.pictures)


def test_section_survives_gaps(finished):
    empty = ResultTable(pl.DataFrame(), (Missing({"pair": "P-T & P-T"}, "failed"),))
    assert module.section(empty, module.Options()).notes
    whole = finished.table("mistakes")
    for kind in whole.rows["pair"].unique():
        part = ResultTable(whole.rows.filter(pl.col("pair") == kind))
        assert module.section(part, module.Options()).charts is not None


def test_strips_show_the_surest_mistakes(tmp_path):
    class Images:
        multilabel, classes = False, ("cat", "dog")
        labels, names = np.zeros(6, dtype=int), [f"{i}.png" for i in range(6)]

        def pictures(self, rows):
            return np.stack([np.full((8, 8, 3), 40 * i, dtype=np.uint8) for i in rows])

    out = np.array([[0, 1], [0, 9], [5, 0], [0, 3], [0, 4], [0, 2.0]])
    said = pictures.strip(tmp_path / "x.png", Images(), np.arange(6), [out, out], np.array([0, 1, 3, 4, 5]), False, 3)
    assert said == {"images": 5, "shown": [["cat", "dog"]] * 3, "files": ["1.png", "4.png", "3.png"]}
    assert (tmp_path / "x.png").stat().st_size > 0


def test_fewer_than_no_pictures_are_refused():
    assert analyses.options("mistakes", {"pictures": 0}).pictures == 0
    with pytest.raises(UserError, match=r"analyses\.mistakes"):
        analyses.options("mistakes", {"pictures": -1})
