"""The similarity analysis: its numbers from the runs' own weights, its ordering of early blocks, its gaps."""

import numpy as np
import polars as pl
import pytest
import torch
from pairing import seeds_of
from probing.reference import features, minibatch_cka
from safetensors.torch import load_file
from smoke import nets

from transferscope import analyses
from transferscope.engine.table import ResultTable
from transferscope.errors import UserError
from transferscope.tasks import restore

module = analyses.load("similarity")


def test_map_is_that_of_the_saved_weights(finished):
    cell = next(c for c in finished.plan.cells if c.analysis == "similarity" and c.labels["pair"] == "P-T & P")
    params = cell.step.params["a"].params
    run, data = finished.store.get(params["run"]), finished.store.get(params["data"])
    sides = []
    batches = list(restore.batches(run, data, "test", size=128, images=1024))
    for name in ("final", "epoch-0000"):
        net = nets.tiny(3)
        net.load_state_dict(load_file(run.path / f"{name}.safetensors"))
        sides.append([features(net, x, ("1", "4", "7", "11")) for x, *_ in batches])  # blocks end in their norms
    table = finished.table("similarity").rows
    rows = table.filter((pl.col("pair") == "P-T & P") & (pl.col("seed") == cell.labels["seed"]))
    found = rows["cka"].to_numpy().reshape(4, 4)
    np.testing.assert_allclose(found, minibatch_cka(*sides), rtol=1e-4, atol=1e-5)
    assert rows["samples"].unique().to_list() == [24]


def test_neighbours_belong_to_points_not_pairs(finished):
    rows = finished.table("similarity").rows.filter(pl.col("accuracy").is_not_null())
    assert set(rows["pair"]) == {"P", "P-T", "RI", "RI-T"} and rows["seed_b"].null_count() == rows.height
    assert rows["accuracy"].is_between(0, 1).all()
    starts = rows.filter((pl.col("pair") == "P") & (pl.col("layer_a") != "11"))
    assert starts.filter(pl.col("seed") == 0)["accuracy"].equals(starts.filter(pl.col("seed") == 1)["accuracy"])


def made(levels, seeds=7, noise=0.01):
    """Two blocks of two, with a CKA level per kind of pair in the first and half of it in the second."""
    draw = np.random.default_rng(0)
    rows = []
    for kind, level in levels.items():
        for seed, before in seeds_of(kind, seeds):
            for i, a in enumerate(("conv1", "fc")):
                for b in ("conv1", "fc"):
                    value = (level if a == b else 0.1) / (1 + i) + noise * draw.normal()
                    rows.append(
                        {
                            "target": "t",
                            "pair": kind,
                            "seed": seed,
                            "seed_b": before,
                            "layer_a": a,
                            "layer_b": b,
                            "cka": value,
                            "stderr": 0.01,
                            "samples": 24,
                            "how": "unbiased",
                        }
                    )
    return ResultTable(pl.DataFrame(rows))


PAPER = {"P-T & P-T": 0.9, "P-T & P": 0.7, "P-T & RI-T": 0.2, "RI-T & RI-T": 0.2}


def test_verdict_on_claim_five():
    def verdict(levels, seeds=7):
        findings = module.section(made(levels, seeds), module.Options()).findings
        return [f.verdict for f in findings if f.claim == 5]

    assert verdict(PAPER) == ["supports"] and verdict(PAPER, 2) == ["open"]
    assert verdict(PAPER | {"P-T & P": 0.95}) == ["contradicts"]
    assert verdict(PAPER | {"RI-T & RI-T": 0.7}) == ["open"]
    assert verdict({k: v for k, v in PAPER.items() if k != "P-T & P"}) == ["open"]
    assert verdict({"P-T & P": 0.7}) == []


def test_section_draws_everything(finished):
    section = finished.section("similarity")
    assert [c.name for c in section.charts] == ["shapes-blocks", "shapes-maps", "shapes-neighbours"]
    assert all(c.spec.to_dict() for c in section.charts)
    assert "24 test images" in section.charts[0].caption and section.tables[0].rows.height == 4
    assert any("nearest neighbours" in f.text for f in section.findings)


def test_section_survives_gaps(finished):
    assert module.section(ResultTable(pl.DataFrame()), module.Options()).notes
    whole = finished.table("similarity")
    for kind in whole.rows["pair"].unique():
        section = module.section(ResultTable(whole.rows.filter(pl.col("pair") == kind)), module.Options())
        assert all(c.spec.to_dict() for c in section.charts)


def test_constant_features_are_named():
    rows = made(PAPER, 2).rows.with_columns(cka=pl.when(pl.col("layer_a") == "fc").then(None).otherwise(pl.col("cka")))
    section = module.section(ResultTable(rows), module.Options())
    assert "CKA has no value for fc" in section.notes[0]


def test_every_network_runs_once_and_a_grown_study_recomputes_nothing(finished):
    def steps(**changes):
        study = finished.study.model_copy(update=changes)
        return {step.key: step.task for _, step in module.plan(study, module.Options())}

    two, three = steps(), steps(seeds=(0, 1, 2))
    assert two.items() < three.items()
    assert list(two.values()).count("features") == 8 and list(three.values()).count("features") == 12


def test_options_are_strict():
    assert analyses.options("similarity", {"pool": "mean", "images": 64}).images == 64
    for wrong in ({"pool": "best"}, {"images": 2}, {"layer": "blocks"}):
        with pytest.raises(UserError, match=r"analyses\.similarity"):
            analyses.options("similarity", wrong)


def test_batches_are_shuffled_even_and_always_the_same(finished):
    cell = next(c for c in finished.plan.cells if c.analysis == "similarity")
    run, data = (finished.store.get(cell.step.params[name]) for name in ("run", "data"))
    one, two = (list(restore.batches(run, data, "test", size=10, images=23)) for _ in range(2))
    assert [len(x) for x, *_ in one] == [12, 11] and len({int(r) for batch in one for r in batch.ids}) == 23
    assert all(torch.equal(a[0], b[0]) and (a[2] == b[2]).all() for a, b in zip(one, two, strict=True))
    labels = torch.cat([y for _, y, *_ in one])
    assert not torch.equal(labels, labels.sort().values)
