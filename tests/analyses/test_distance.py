"""The distance analysis: its numbers from the runs' own weights, its verdict, its gaps."""

import math

import numpy as np
import polars as pl
import pytest
import torch
from pairing import seeds_of
from safetensors.torch import load_file

from transferscope import analyses
from transferscope.engine.table import ResultTable

module = analyses.load("distance")
TRAINED = ("0.weight", "1.weight", "1.bias", "3.weight", "4.weight", "4.bias", "6.weight", "7.weight", "7.bias")


def test_body_is_that_of_the_saved_weights(finished):
    rows = finished.table("distance").rows
    files = {"start": "epoch-0000", "end": "final"}
    for cell in (c for c in finished.plan.cells if c.analysis == "distance"):
        params = cell.step.params
        a, b = (
            load_file(finished.store.get(params[side]).path / f"{files.get(at, at)}.safetensors")
            for side, at in (("a", "end"), ("b", {"final": "end"}.get(params["b_at"], params["b_at"])))
        )
        gap = torch.cat([(a[name].double() - b[name].double()).flatten() for name in TRAINED])
        row = rows.filter(
            (pl.col("pair") == cell.labels["pair"])
            & (pl.col("seed") == cell.labels["seed"])
            & (pl.col("block") == "(body)")
        )
        assert row["l2"][0] == pytest.approx(float(gap.norm()), rel=1e-9)


def made(levels, seeds=7):
    draw = np.random.default_rng(0)
    rows = []
    for kind, level in levels.items():
        for seed, before in seeds_of(kind, seeds):
            parts = level * np.array([1, 2, 3]) / math.sqrt(14) * np.exp(0.02 * draw.normal(size=3))
            cells = [*zip(("a", "b", "c"), parts, strict=True), ("(body)", np.linalg.norm(parts)), ("(head)", 1.0)]
            for block, l2 in cells:
                rows.append(
                    {
                        "target": "t",
                        "pair": kind,
                        "seed": seed,
                        "seed_b": before,
                        "block": block,
                        "l2": float(l2),
                        "norm": 10.0,
                        "relative": float(l2) / 10,
                        "size": 4,
                    }
                )
    return ResultTable(pl.DataFrame(rows))


PAPER = {"P-T & P-T": 193.0, "P-T & P": 165.0, "RI-T & RI-T": 815.0, "RI-T & P": 797.0}


def test_verdict_on_claim_six():
    def judged(levels, seeds=7):
        return [f for f in module.section(made(levels, seeds), module.Options()).findings if f.claim == 6]

    (found,) = judged(PAPER)
    assert found.verdict == "supports" and found.effect == pytest.approx(815 - 193, rel=0.03)
    assert "two fine-tuned networks are nearer to each other" in found.text
    assert judged(PAPER, 2)[0].verdict == "open"
    assert judged(PAPER | {"RI-T & P": 100.0})[0].verdict == "contradicts"
    assert judged({k: v for k, v in PAPER.items() if "P-T & P-T" not in k}) == []


def test_blocks_are_compared_by_the_way_of_a_single_weight():
    section = module.section(made(PAPER), module.Options())
    assert "farther in later blocks than in earlier ones: most in c, least in a" in section.findings[1].text


def test_a_block_does_not_move_farther_because_it_is_larger():
    """Every weight moves by 1 / (block's place + 1), later blocks are larger: L2 rises, its own way falls."""
    sizes = {"a": 10, "b": 1000, "c": 100_000, "d": 10_000_000}
    rows = [
        {
            "target": "t",
            "pair": "P-T & P",
            "seed": seed,
            "seed_b": seed,
            "block": block,
            "size": size,
            "l2": math.sqrt(size) / (place + 1),
            "norm": math.sqrt(size),
            "relative": 1 / (place + 1),
        }
        for seed in range(6)
        for place, (block, size) in enumerate(sizes.items())
    ]
    (found,) = module.section(ResultTable(pl.DataFrame(rows)), module.Options()).findings
    assert found.effect == -1 and found.unit == "rank correlation of depth and the way of a single weight"
    assert "less far in later blocks than earlier: most in a, least in d" in found.text
    assert "-1.00 relative to the norm of P's block and +1.00 as L2, which grows with size" in found.text


def test_section_draws_everything_and_survives_gaps(finished):
    section = finished.section("distance")
    assert [c.name for c in section.charts] == ["shapes-body", "shapes-rms", "shapes-relative", "shapes-l2"]
    assert all(c.spec.to_dict() for c in section.charts) and section.tables[0].rows.height == 6
    assert module.section(ResultTable(pl.DataFrame()), module.Options()).notes
    whole = finished.table("distance")
    for kind in whole.rows["pair"].unique():
        part = module.section(ResultTable(whole.rows.filter(pl.col("pair") == kind)), module.Options())
        assert all(c.spec.to_dict() for c in part.charts)
