"""The tuning analysis: what each way trains, its searched rate and work, what is enough, gaps."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from safetensors.torch import load_file
from smoke import nets
from smoke import study as smoke
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from transferscope import analyses
from transferscope.analyses.tuning import cost
from transferscope.engine.table import Table
from transferscope.errors import UserError
from transferscope.models.build import build_network
from transferscope.shape import picture
from transferscope.study import SEARCH_SEED, Study

from .conftest import finish

module = analyses.load("tuning")
OPTIONS = "{tuning: {top: [2], rates: [0.3, 1], head_rates: [1, 10], epochs: 1}}"
WAYS = ["linear probe", "top 2 of 4 blocks", "full", "probe, then full"]


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    return finish(smoke.write(tmp_path_factory.mktemp("tuning")), {"analyses": OPTIONS})


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return Study.load(smoke.write(tmp_path), {"analyses": "[transfer]"})


def cells(done):
    return {(c.labels["way"], c.labels["seed"]): c.step for c in done.plan.cells if c.analysis == "tuning"}


def test_each_way_moves_what_it_should(done):
    weights = {}
    for (way, seed), step in cells(done).items():
        path = done.store.get(step.params["run"]).path
        start, end = (load_file(path / f"{name}.safetensors") for name in ("epoch-0000", "final"))
        weights[way, seed] = start, end
        moved = {name.split(".")[0] for name in end if not torch.equal(start[name], end[name])}
        assert moved == {"linear probe": {"11"}, "top 2 of 4 blocks": {"6", "7", "11"}}.get(
            way, {"0", "1", "3", "4", "6", "7", "11"}
        ), way
    assert sorted({way for way, _ in weights}) == sorted(WAYS)
    for seed in (0, 1):
        end = weights["linear probe", seed][1]
        start = weights["probe, then full", seed][0]
        assert all(torch.equal(start[name], end[name]) for name in end), "LP-FT begins where its probe ended"


def test_rates_are_searched_on_a_seed_that_is_not_reported(done):
    rows = done.table("tuning").rows
    for (way, seed), step in cells(done).items():
        choice = step.params["lr"]
        assert choice.task == "choose_lr"
        trials = choice.params["trials"]
        tried = [lr for lr, _ in trials]
        assert tried == ([0.05, 0.5] if way == "linear probe" else [0.015, 0.05])
        assert {run.params["seed"] for _, run in trials} == {SEARCH_SEED}
        trainable = {"linear probe": "head", "top 2 of 4 blocks": "top:2"}.get(way, "all")
        assert {run.params["trainable"] for _, run in trials} == {trainable}
        if way == "probe, then full":
            assert {run.params["begin"].params["seed"] for _, run in trials} == {SEARCH_SEED}
        best = max(trials, key=lambda one: (done.store.get(one[1]).rows[-1]["whole_val_metric"], -one[0]))[0]
        row = rows.filter((pl.col("way") == way) & (pl.col("seed") == seed))
        assert row["lr"][0] == best and row["lr_place"][0] == ("lowest" if best == min(tried) else "highest")


def slow_flops(trainable):
    """By hand, for 32 px images: two operations a multiply-add, twice that again where a gradient is wanted."""
    convs = [("0", 16 * 16, 3 * 9, 8), ("3", 8 * 8, 8 * 9, 16), ("6", 4 * 4, 16 * 9, 24), ("11", 1, 24, 3)]
    total, below = 0, False
    for name, places, fan_in, out in convs:
        one = 2 * places * fan_in * out
        total += one + one * (name in trainable) + one * below
        below = below or name in trainable
    return total


STEM, DEPTHWISE, HEAD = 36 * 27 * 8, 36 * 9 * 8, 8 * 4  # multiply-adds of a forward pass


@pytest.mark.parametrize(
    ("trainable", "passes"),
    [
        ("all", 2 * STEM + 3 * DEPTHWISE + 3 * HEAD),
        ("top:2", STEM + 2 * DEPTHWISE + 3 * HEAD),
        ("head", STEM + DEPTHWISE + 2 * HEAD),
    ],
)
def test_grouped_convolutions_are_counted_as_such(trainable, passes):
    """torch's own counter takes the backward pass of a depthwise layer for that of a full one."""
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.Conv2d(8, 8, 3, padding=1, groups=8),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 4),
    )
    cost.freeze(net, trainable, 4)
    assert cost.step_flops(net, picture(6)) == 2 * passes


def test_attention_is_counted_and_nothing_is_left_behind():
    net = build_network("timm:test_vit", 5, seed=0).eval()
    cost.freeze(net, "head", 5)
    flags = [p.requires_grad for p in net.parameters()]
    head = cost.step_flops(net, picture(160))
    assert [p.requires_grad for p in net.parameters()] == flags
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())
    cost.freeze(net, "all", 5)
    full = cost.step_flops(net, picture(160))
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:  # plain products, forth and back
        net(torch.zeros(1, 3, 160, 160)).sum().backward()
    assert full == counter.get_total_flops()
    assert head == pytest.approx(full / 3, rel=0.05)


def test_work_is_counted_by_hand(done):
    rows = done.table("tuning").rows.filter(pl.col("seed") == 0)
    images = 120 - sum(r["images"] for r in done.store.get(done.study.data("shapes")).rows if r["split"] != "train")
    work = dict(rows.select("way", "training_flops").iter_rows())
    head, top, full = (images * slow_flops(kept) for kept in (("11",), ("6", "11"), ("0", "3", "6", "11")))
    assert work == {"linear probe": head, "top 2 of 4 blocks": top, "full": full, "probe, then full": head + full}
    trained = dict(rows.select("way", "trained").iter_rows())
    whole = sum(p.numel() for p in nets.tiny(3).parameters())
    assert trained["linear probe"] == 24 * 3 + 3 and trained["full"] == trained["probe, then full"] == whole
    assert set(rows["parameters"]) == {whole}


def test_seconds_are_kept_beside_the_rows(done):
    step = cells(done)["probe, then full", 0]
    artifact = done.store.get(step)
    parts = [json.loads((done.store.get(step.params[p]).path / "timing.json").read_text()) for p in ("run", "before")]
    spent = json.loads((artifact.path / "timing.json").read_text())["train_seconds"]
    assert spent == pytest.approx(sum(one["train_seconds"] for part in parts for one in part)) and spent > 0
    assert not any("seconds" in name for row in artifact.rows for name in row), "rows are a function of the study"
    section = done.section("tuning")
    assert section.tables[0].rows["seconds"].null_count() == 0
    assert not any("seconds" in (f.text + f.unit) for f in section.findings)
    drawn = json.dumps([c.spec.to_dict() for c in section.charts])
    assert "train_seconds" not in drawn


def test_section_of_the_smoke_study_draws_everything(done):
    section = done.section("tuning")
    assert [c.name for c in section.charts] == ["shapes-ways", "shapes-work"]
    assert all(c.spec.to_dict() for c in section.charts)
    assert section.tables[0].rows["what is trained"].to_list() == WAYS
    assert len(section.findings) == 3 and any("wider search" in note for note in section.notes)


def test_top_blocks(study, monkeypatch):
    def tops(**options):
        return module.tops(study, module.Options.model_validate(options))

    assert tops() == [2, 3] and tops(top=[3, 2, 3]) == [2, 3] and tops(top=[]) == []
    for wrong in (0, 1, 4):
        with pytest.raises(UserError, match=f"{wrong} is not between the head alone and all 4 blocks.* 2 to 3"):
            tops(top=[wrong])
    names = tuple(f"b{i}" for i in range(19))
    monkeypatch.setattr(module, "block_names", lambda *_: names)
    monkeypatch.setattr(module, "body_names", lambda *_: names)
    assert tops() == [5, 10, 14] and tops(top=[1]) == [1]


def test_one_rate_needs_no_search(study):
    options = module.Options(rates=(1.0,), head_rates=(2.0,), top=())
    steps = {(c["way"], c["seed"]): step for c, step in module.plan(study, options)}
    assert steps["full", 0].params["run"].key == study.run("shapes", "pretrained", 0).key
    assert steps["linear probe", 1].params["lr"] == 0.1
    both = steps["probe, then full", 1].params
    assert both["lr"] == 0.05 and both["run"].params["begin"].key == steps["linear probe", 1].params["run"].key


@pytest.mark.parametrize(("given", "said"), [({"rates": []}, "at least 1"), ({"head_rates": [-1]}, "greater than 0")])
def test_bad_options_get_one_sentence(given, said):
    with pytest.raises(UserError, match=r"analyses\.tuning") as caught:
        analyses.options("tuning", given)
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_a_study_without_weights_is_told_so(tmp_path):
    study = Study.load(smoke.write(tmp_path), {"analyses": "[tuning]", "pretrained": "null", "arms": "[random]"})
    with pytest.raises(UserError, match=r"analyses.tuning: .*add 'pretrained: ...'"):
        analyses.plan(study)


LEVELS = {
    "linear probe": 0.70,
    "top 2 of 4 blocks": 0.896,
    "top 3 of 4 blocks": 0.90,
    "full": 0.90,
    "probe, then full": 0.91,
}
WORK = dict(zip(LEVELS, (0.34, 0.5, 0.8, 1.0, 1.34), strict=True))


def made(levels=LEVELS, seeds=7, noise=0.002, metric="accuracy"):
    draw = np.random.default_rng(0)
    rows = [
        {
            "target": "t",
            "way": way,
            "seed": seed,
            "metric": metric,
            "epochs": 5,
            "test_metric": end,
            "best_metric": end,
            "speed_metric": end,
            "rise_metric": 0.0,
            "lr": 0.01,
            "lr_place": "inside",
            "parameters": 100,
            "trained": 50,
            "training_flops": 1e9 * WORK[way],
        }
        for way, level in levels.items()
        for seed in range(seeds)
        for end in [level + draw.normal(0, noise)]
    ]
    return Table(pl.DataFrame(rows))


def said(table, word, **options):
    section = module.section(table, module.Options.model_validate(options))
    return next((f for f in section.findings if word in f.text), None)


def test_the_cheapest_that_is_enough():
    found = said(made(LEVELS | {"top 2 of 4 blocks": 0.903}, noise=0.004), "is enough")
    assert "training the top 2 of 4 blocks is enough, for 50% of the work" in found.text and found.n == 7
    assert "7 seeds do not tell from no difference" in found.text
    assert "top 3" in said(made(noise=0.0005), "is enough").text, "surely below, if only by a little"
    one = made(seeds=1, noise=0)
    assert "top 2 of 4 blocks is enough" in said(one, "enough").text
    assert "with one seed it ends 0.4 points below it" in said(one, "enough").text
    assert "top 3 of 4 blocks is enough" in said(one, "enough", margin=0.1).text
    assert "a linear probe is enough" in said(one, "enough", margin=30).text
    assert "a linear probe is enough" in said(made(LEVELS | {"linear probe": 0.93}), "is enough").text
    assert "it even ends 3.0 points above it" in said(made(LEVELS | {"linear probe": 0.93}), "is enough").text
    worse = made(LEVELS | {"top 2 of 4 blocks": 0.8, "top 3 of 4 blocks": 0.85})
    found = said(worse, "no cheaper way is enough")
    assert "training the top 3 of 4 blocks, ends 5." in found.text and found.effect < -4


def test_few_seeds_do_not_make_a_bad_way_enough():
    """With two seeds every interval includes 0; a mean far below full fine-tuning is still not enough."""
    found = said(made(LEVELS | {"linear probe": 0.89 - 0.02}, seeds=2, noise=0.02), "enough")
    assert "linear probe is enough" not in found.text


def test_probing_first_is_told():
    found = said(made(), "begins where the linear probe ended")
    assert "1.0 points above full fine-tuning from the pretrained weights." in found.text
    assert "do not tell" in said(made(noise=0.03), "begins where").text


def test_edges_of_the_search_are_told():
    rows = made().rows.with_columns(
        lr_place=pl.when(pl.col("way") == "full").then(pl.lit("highest")).otherwise("lr_place")
    )
    notes = module.section(Table(rows), module.Options()).notes
    assert notes == [
        "On t the best learning rate of “full” was the highest tried: a wider search may find a better one."
    ]


@pytest.mark.parametrize("lost", [*LEVELS, "all but full", "seeds", "test_metric"])
def test_section_survives_gaps(lost):
    rows = made().rows
    if lost == "test_metric":
        rows = rows.with_columns(pl.lit(None, pl.Float64).alias(lost))
    elif lost == "seeds":
        rows = rows.filter(pl.col("seed") == 0)
    else:
        rows = rows.filter(pl.col("way") == "full" if lost == "all but full" else pl.col("way") != lost)
    section = module.section(Table(rows), module.Options())
    assert all(c.spec.to_dict() for c in section.charts)
    assert all("nan" not in f.text and f.text.endswith(".") for f in section.findings)
    assert module.section(Table(pl.DataFrame()), module.Options()).notes


def test_auc_is_called_auc():
    assert "test AUC" in said(made(metric="auc"), "only the head").text
