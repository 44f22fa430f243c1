"""The spectrum analysis: its numbers from the runs' own weights, its charts, its gaps."""

import numpy as np
import polars as pl
import pytest
from safetensors.numpy import load_file

from transferscope import analyses
from transferscope.engine.table import ResultTable

module = analyses.load("spectrum")


def test_numbers_are_those_of_the_saved_weights(finished):
    cell = next(c for c in finished.plan.cells if c.analysis == "spectrum" and c.labels["pair"] == "RI-T & P")
    rows = finished.table("spectrum").rows.filter(
        (pl.col("pair") == "RI-T & P") & (pl.col("seed") == cell.labels["seed"]) & (pl.col("weight") == "6.weight")
    )
    a, b = (
        load_file(finished.store.get(cell.step.params[side]).path / f"{name}.safetensors")["6.weight"].reshape(24, -1)
        for side, name in (("a", "final"), ("b", "epoch-0000"))
    )
    ua, ub = (np.linalg.svd(m.astype(np.float64)) for m in (a, b))
    row = rows.row(0, named=True)
    assert row["k"] == 6 and row["norm_a"] == pytest.approx(ua[1][0], rel=1e-5)
    assert row["overlap"] == pytest.approx(((ua[2][:6] @ ub[2][:6].T) ** 2).sum() / 6, abs=1e-5)
    assert row["expected"] == pytest.approx(6 / 144)
    saved = finished.store.get(cell.step).arrays("spectrum")
    np.testing.assert_allclose(saved["values_a/6.weight"], ua[1], rtol=1e-4, atol=1e-6)


def test_section_draws_everything(finished):
    section = finished.section("spectrum")
    assert [c.name for c in section.charts] == ["shapes-overlap", "shapes-rank", "shapes-spectra"]
    drawn = [c.spec.to_dict() for c in section.charts]
    points = {row["point"] for data in drawn[2]["datasets"].values() for row in data}
    assert points == {"P (start)", "P-T", "RI (start)", "RI-T"}
    assert "P-T shares" in section.findings[0].text and section.findings[0].effect is not None
    assert len(section.findings) == 2 and not any(f.verdict for f in section.findings)


def test_every_block_of_all_four_networks(finished):
    """One weight a block, that with the most singular values, for P, RI, P-T and RI-T; its values are those saved."""
    table = finished.table("spectrum")
    section = module.section(table, module.Options(drawn="blocks"))
    (chart,) = (c for c in section.charts if c.name == "shapes-spectra")
    cells = [row for data in chart.spec.to_dict()["datasets"].values() for row in data]
    blocks = table.rows["block"].unique(maintain_order=True).to_list()
    assert {row["weight"] for row in cells} == set(blocks) and len(blocks) == 4
    for block in blocks:
        assert {r["point"] for r in cells if r["weight"] == block} == {"P (start)", "P-T", "RI (start)", "RI-T"}
    labels, artifact = next(a for a in table.artifacts if a[0]["pair"] == "P-T & P")
    arrays = artifact.arrays("spectrum")
    values = [arrays[f"values_a/{row['weight']}"] for row in artifact.rows if row["block"] == "6"]
    drawn = [r["value"] for r in cells if r["weight"] == "6" and r["point"] == "P-T"]
    assert drawn == pytest.approx(max(values, key=len).tolist()) and labels["seed"] == 0
    assert "of every block" in chart.caption


def test_section_survives_gaps(finished):
    assert module.section(ResultTable(pl.DataFrame()), module.Options()).notes
    whole = finished.table("spectrum")
    for kind in whole.rows["pair"].unique():
        part = ResultTable(
            whole.rows.filter(pl.col("pair") == kind), (), tuple(a for a in whole.artifacts if a[0]["pair"] == kind)
        )
        assert all(c.spec.to_dict() for c in module.section(part, module.Options()).charts)
