"""The rewind analysis: numbers from the runs' own weights, claims on made-up tables, advice and gaps."""

import copy

import polars as pl
import pytest
import torch
from smoke import study as smoke

from transferscope import analyses
from transferscope.analyses._shared import advice as _advice
from transferscope.analyses._shared import per_block
from transferscope.engine.table import ResultTable
from transferscope.measures.intervals import Interval
from transferscope.measures.judged import score
from transferscope.models.blocks import blocks, parameters_of
from transferscope.models.norm import refresh_batch_norm
from transferscope.tasks import restore

from .conftest import finish

module = analyses.load("rewind")
OPTIONS = "splits: [train, test], images: 30, cumulative: both, redraw: every seed"


@pytest.fixture(scope="module")
def rewound(tmp_path_factory):
    return finish(smoke.write(tmp_path_factory.mktemp("rewind")), {"analyses": f"{{rewind: {{{OPTIONS}}}}}"})


def of(rows, **labels):
    return rows.filter(*(pl.col(name) == value for name, value in labels.items()))


def test_numbers_are_those_of_networks_put_together_by_hand(rewound):
    cell = next(c for c in rewound.plan.cells if c.analysis == "rewind" and c.labels["arm"] == "pretrained")
    run, data = (rewound.store.get(cell.step.params[name]) for name in ("run", "data"))
    net = restore.network(run, data)
    rows = of(rewound.table("rewind").rows, **cell.labels)
    statistics = torch.cat([x for x, *_ in restore.batches(run, data, "train", images=250)])
    assert set(rows["basis"]) == {f"re-estimated everywhere, on {len(statistics)} images given as statistics"}
    assert set(rows["precision"]) == {restore.said(run)["precision"]}
    start = restore.weights(run, "start")
    for split in ("train", "test"):
        batches = list(restore.batches(run, data, split, images=30))
        for block in [None, *blocks(net)]:
            changed = copy.deepcopy(net)
            names = parameters_of(block, start) if block else ()
            changed.load_state_dict({**net.state_dict(), **{name: start[name] for name in names}})
            refresh_batch_norm(changed, [statistics])
            with torch.no_grad():
                out = torch.cat([changed(x) for x, *_ in batches]).numpy()
            labels = torch.cat([y for _, y, *_ in batches]).numpy()
            row = of(rows, data=split, how="rewind" if block else "none", block=block.name if block else "(none)")
            row = row.filter(pl.col("checkpoint").is_in(["start", ""])).row(0, named=True)
            assert row["score"] == pytest.approx(score(out, labels, "accuracy"), abs=0.034), "one image, in bfloat16"
    assert (rewound.store.get(cell.step).path / "rewind.safetensors").exists()


def test_first_seed_alone_goes_through_the_epochs(rewound):
    rows = rewound.table("rewind").rows
    assert set(of(rows, seed=0)["checkpoint"]) == {"", "start", "epoch 1", "redraw"}
    assert set(of(rows, seed=1)["checkpoint"]) == {"", "start", "redraw"}
    assert set(rows["how"]) == {"none", "own", "rewind", "redraw", "bottom", "top"}
    assert of(rows, how="rewind")["modules"].null_count() == 0


def test_a_grown_study_keeps_its_steps(tmp_path):
    from transferscope.study import Study

    path = smoke.write(tmp_path)
    keys = [{step.key for _, step in module.plan(Study.load(path, {"seeds": n}), module.Options())} for n in ("2", "3")]
    assert keys[0] < keys[1]


def test_section_draws_everything(rewound):
    section = rewound.section("rewind")
    names = [chart.name for chart in section.charts]
    assert names == ["shapes-blocks", "shapes-together", "shapes-epochs", "shapes-redrawn"]
    assert all(chart.spec.to_dict() for chart in section.charts)
    assert section.tables[0].rows.columns == ["block", "P-T: do", "RI-T: do", "P-T loses", "RI-T loses", "weights"]
    assert section.tables[0].rows["block"].to_list() == ["0", "3", "6", "11"]
    assert all(f.verdict in (None, "open") for f in section.findings)
    assert any("re-estimated everywhere, on" in f.text for f in section.findings)


BLOCKS = ["stem", "layer1.0", "layer1.1", "layer2.0", "layer2.1", "fc"]
LIKE_THE_PAPER = {
    "pretrained": [0.0, 0.001, 0.002, 0.02, 0.03, 0.1],
    "random": [0.3, 0.2, 0.02, 0.25, 0.01, 0.02],
}


def made_up(drops, seeds=6):
    """Rows as `measure` gives them; a different seed differs by a hair."""
    found = []
    for arm, of_arm in drops.items():
        for seed in range(seeds):
            for how in ("rewind", "bottom"):
                for i, name in enumerate(BLOCKS):
                    drop = of_arm[i] if how == "rewind" or arm == "pretrained" else 0.3
                    drop = None if drop is None else drop + 1e-4 * (seed - 2.5)
                    found.append(
                        {
                            "target": "t",
                            "arm": arm,
                            "seed": seed,
                            "block": name,
                            "how": how,
                            "checkpoint": "start",
                            "data": "test",
                            "metric": "accuracy",
                            "score": None if drop is None else 0.8 - drop,
                            "drop": drop,
                            "size": 10 * (i + 1),
                            "modules": "stem, bn1" if not i else name,
                        }
                    )
    return ResultTable(pl.DataFrame(found, infer_schema_length=None))


def verdicts(table, **options):
    section = module.section(table, module.Options(**options))
    return [finding.verdict for finding in section.findings if finding.claim == 9], section


def test_claim_9_is_supported_contradicted_and_left_open():
    assert verdicts(made_up(LIKE_THE_PAPER))[0] == ["supports", "supports"]
    assert verdicts(made_up(LIKE_THE_PAPER, seeds=2))[0] == ["open", "open"]
    other = {"pretrained": LIKE_THE_PAPER["pretrained"][::-1], "random": [0.0, 0.0, 0.2, 0.0, 0.3, 0.1]}
    found, section = verdicts(made_up(other))
    assert found == ["contradicts", "contradicts"]
    text = " ".join(finding.text for finding in section.findings)
    assert "NOT harmless" in text and "NOT more" in text and "falls towards the head" in text
    harmful = {"pretrained": [0.05, 0.05, 0.1, 0.1, 0.1, 0.1]}
    assert verdicts(made_up(harmful))[0] == ["contradicts"], "rising, but not harmless below"


def test_findings_say_the_numbers():
    _, section = verdicts(made_up(LIKE_THE_PAPER))
    first = section.findings[0]
    assert (
        "costs 0.1 points on average over blocks and seeds, which is harmless" in first.text
        and "(stem to layer1.0)" in first.text
    )
    assert first.effect == pytest.approx(100 * ((0.002 + 0.02 + 0.03) / 3 - 0.0005)) and first.n == 6
    scratch = next(f for f in section.findings if "stage begins" in f.text)
    assert "(stem, layer1.0 and layer2.0)" in scratch.text
    assert scratch.effect == pytest.approx(100 * (0.25 - 0.015))
    together = next(f for f in section.findings if "together" in f.text)
    assert "3.0 of P-T and 0.0 of RI-T" in together.text and together.effect == 3


def test_advice_and_code_to_paste():
    _, section = verdicts(made_up(LIKE_THE_PAPER))
    advice = section.tables[0].rows
    assert advice["P-T: do"].to_list() == [*["safe to freeze"] * 3, *["critical"] * 2, "head: train"]
    assert advice["RI-T: do"].to_list()[0] == "critical"
    frozen = module.section(made_up({"pretrained": [0.0] * 6}), module.Options()).tables[0].rows
    assert frozen["P-T: do"].to_list() == [*["safe to freeze"] * 5, "head: train"], "random values are never kept"
    one = module.section(made_up(LIKE_THE_PAPER, seeds=1), module.Options()).tables[0].rows
    assert set(one["P-T: do"][:-1]) == {"one seed: undecided"}, "no interval, no verdict"
    code = section.tables[1].rows["python"].to_list()
    net = torch.nn.ModuleDict(
        {
            "stem": torch.nn.Linear(1, 1),
            "bn1": torch.nn.Linear(1, 1),
            "stem2": torch.nn.Linear(1, 1),
            "layer1": torch.nn.Sequential(*[torch.nn.Linear(1, 1) for _ in range(11)]),
        }
    )
    scope = {"net": net}
    exec("\n".join(code), scope)
    still = {name.rpartition(".")[0] for name, p in net.named_parameters() if not p.requires_grad}
    assert still == {"stem", "bn1", "layer1.0", "layer1.1"}
    two = verdicts(made_up(LIKE_THE_PAPER, seeds=2))[1]
    assert two.tables[0].rows["P-T: do"][0] == "seems safe to freeze" and "seems harmless" in two.tables[1].caption
    everything = verdicts(made_up({"pretrained": [0.0] * 6}))[1].tables[1].rows["python"][0]
    assert '"layer2.1."' in everything and '"fc."' not in everything
    none = verdicts(made_up({"pretrained": [0.1] * 6}))[1]
    assert len(none.tables) == 1, "nothing can be frozen"


def test_advice_needs_a_settled_interval():
    assert _advice.advice(Interval(0.005, 0.0, 0.009, 6), 0.01) == "safe"
    assert _advice.advice(Interval(0.005, 0.0, 0.02, 6), 0.01) == "undecided"
    assert _advice.advice(Interval(0.005, 0.0, 0.009, 2), 0.01) == "seems safe"
    assert _advice.advice(Interval(0.005, None, None, 1), 0.01) == "undecided"
    assert _advice.advice(Interval(0.05, None, None, 1), 0.01) == "undecided"
    assert _advice.advice(Interval(0.05, 0.02, 0.08, 6), 0.01) == "critical"
    assert _advice.advice(Interval(0.05, 0.02, 0.08, 2), 0.01) == "seems critical"
    assert _advice.advice(Interval(0.05, 0.0, 0.1, 6), 0.01) == "undecided"
    assert _advice.harm(Interval(0.005, 0.0, 0.009, 3), 0.01) == "which is harmless"
    assert _advice.advice(Interval(0.0, 0.0, 0.0, 3), 0.01) == "undecided", "a few equal losses"
    assert _advice.advice(Interval(0.0, 0.0, 0.0, 6), 0.01) == "safe"
    undecided = "of which it is undecided whether it is harmless"
    assert _advice.harm(Interval(0.005, -0.1, 0.2, 3), 0.01) == undecided
    assert _advice.harm(Interval(0.05, 0.02, 0.08, 3), 0.01) == "which is NOT harmless"
    assert _advice.harm(Interval(0.05, -0.1, 0.2, 3), 0.01) == undecided


def test_the_basis_is_named_and_own_scores_stand_beside():
    rows = made_up(LIKE_THE_PAPER).rows.with_columns(basis=pl.lit("as found"), precision=pl.lit("float32"))
    section = module.section(ResultTable(rows), module.Options(batch_norm="as found"))
    judged = [finding.text for finding in section.findings if finding.claim == 9]
    words = "(test images; batch-norm statistics AS FOUND, so in part a misfit of norms; float32)"
    assert len(judged) == 2 and all(words in text for text in judged)
    whole = rows.filter(pl.col("block") == "stem", pl.col("how") == "rewind").with_columns(block=pl.lit("(none)"))
    none = whole.with_columns(how=pl.lit("none"), score=pl.lit(0.8), drop_low=pl.lit(-0.01), drop_high=pl.lit(0.01))
    own = none.with_columns(how=pl.lit("own"), score=pl.lit(0.6), drop_low=pl.lit(0.1))
    section = module.section(ResultTable(pl.concat([rows, none, own], how="diagonal_relaxed")), module.Options())
    note = next(note for note in section.notes if "they ended training with" in note)
    assert "P-T 60.0% instead of 80.0%" in note and "in 12 of 12 networks the two differ by more than chance" in note


def test_stage_entries_and_halves():
    assert per_block.entries(BLOCKS) == (["stem", "layer1.0", "layer2.0"], ["layer1.1", "layer2.1"])
    assert per_block.entries(["0", "3", "6", "11"]) == (["0"], ["3", "6"])
    assert per_block.entries(["conv_stem", "blocks.0.0", "blocks.1.0", "blocks.1.1", "conv_head", "classifier"])[0] == [
        "conv_stem",
        "blocks.0.0",
        "blocks.1.0",
    ]
    assert per_block.halves(BLOCKS) == (["stem", "layer1.0"], ["layer1.1", "layer2.0", "layer2.1"])
    assert per_block.halves(["fc"]) == ([], [])


def test_section_survives_gaps(rewound):
    assert module.section(ResultTable(pl.DataFrame()), module.Options()).notes
    whole = rewound.table("rewind").rows
    for kept in ({"arm": "random"}, {"arm": "pretrained"}, {"seed": 0}, {"seed": 1}, {"how": "none"}, {"block": "0"}):
        section = module.section(ResultTable(of(whole, **kept)), module.Options())
        assert all(chart.spec.to_dict() for chart in section.charts)
        assert all("nan" not in finding.text for finding in section.findings)
    lost = made_up({"pretrained": [None] * 6, "random": [0.1, None, 0.1, 0.1, 0.1, None]})
    section = module.section(lost, module.Options())
    assert any("have no score" in note for note in section.notes) and all(c.spec.to_dict() for c in section.charts)
    nothing = lost.rows.with_columns(drop=pl.lit(None, pl.Float64), score=pl.lit(None, pl.Float64))
    assert not module.section(ResultTable(nothing), module.Options()).findings


def test_a_network_without_a_score_keeps_its_place_among_the_blocks():
    rows = made_up({"pretrained": [0.0, 0.0, 0.0, 0.2, 0.2, 0.2]}).rows
    lost = pl.when((pl.col("how") == "bottom") & (pl.col("block") == "layer1.0"))
    rows = rows.with_columns(drop=lost.then(None).otherwise(pl.col("drop")))
    section = module.section(ResultTable(rows), module.Options())
    assert any("3.0 of P-T can be rewound together" in f.text for f in section.findings)
    assert '"layer1.1."' in section.tables[1].rows["python"][0]
    broken = rows.with_columns(drop=pl.when(pl.col("block") == "fc").then(None).otherwise(pl.col("drop")))
    notes = module.section(ResultTable(broken), module.Options()).notes
    assert any("6 of 36 rewound networks have no score: their outputs are no longer finite" in n for n in notes)
