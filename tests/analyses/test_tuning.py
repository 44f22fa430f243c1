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
from transferscope.engine.table import ResultTable
from transferscope.errors import UserError
from transferscope.input_shape import picture
from transferscope.models.build import build_network
from transferscope.models.operations import forward_flops
from transferscope.study import SEARCH_SEED, Study

from .conftest import finish

module = analyses.load("tuning")
OPTIONS = "{tuning: {top: [2], lora: [2], rates: [0.3, 1], head_rates: [1, 10], lora_rates: [1, 3], epochs: 1}}"
BOTH = "probe, then full"
WAYS = ["linear probe", "top 2 of 4 blocks", "LoRA of rank 2", "full", BOTH]


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
        alone = {"linear probe": {"11"}, "top 2 of 4 blocks": {"6", "7", "11"}, "LoRA of rank 2": {"0", "3", "6", "11"}}
        assert moved == alone.get(way, {"0", "1", "3", "4", "6", "7", "11"}), way
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
        assert tried == {"linear probe": [0.05, 0.5], "LoRA of rank 2": [0.05, 0.15]}.get(way, [0.015, 0.05])
        assert {run.params["seed"] for _, run in trials} == {SEARCH_SEED}
        of = {"linear probe": "head", "top 2 of 4 blocks": "top:2", "LoRA of rank 2": "lora:2"}
        trainable = of.get(way, "all")
        assert {run.params["trainable"] for _, run in trials} == {trainable}
        acts = "trained" if trainable.startswith("top:") else "nothing"
        assert {run.params["drop_in"] for _, run in trials} == {acts}
        if way == "probe, then full":
            assert {run.params["begin"].params["seed"] for _, run in trials} == {SEARCH_SEED}
        best = max(trials, key=lambda one: (done.store.get(one[1]).rows[-1]["whole_val_metric"], -one[0]))[0]
        row = rows.filter((pl.col("way") == way) & (pl.col("seed") == seed))
        assert row["lr"][0] == best and row["lr_place"][0] == ("lowest" if best == min(tried) else "highest")


CONVS = [("0", 16 * 16, 3 * 9, 8), ("3", 8 * 8, 8 * 9, 16), ("6", 4 * 4, 16 * 9, 24), ("11", 1, 24, 3)]


def slow_lora(rank):
    """By hand: beside a frozen layer one from its inputs to the rank, and one from there to its outputs."""
    total = 0
    for name, places, fan_in, out in CONVS:
        reached = name != "0"
        if name == "11":
            total += 3 * 2 * places * fan_in * out
            continue
        total += 2 * places * fan_in * out * (1 + reached)
        total += 2 * places * fan_in * rank * (2 + reached) + 2 * places * rank * out * 3
    return total


def slow_flops(trainable):
    """By hand, for 32 px images: two operations a multiply-add, twice that again where a gradient is wanted."""
    total, below = 0, False
    for name, places, fan_in, out in CONVS:
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
    lora = images * slow_lora(2)
    assert work == dict(zip(WAYS, (head, top, lora, full, head + full), strict=True))
    trained = dict(rows.select("way", "trained").iter_rows())
    whole = sum(p.numel() for p in nets.tiny(3).parameters())
    assert trained["linear probe"] == 24 * 3 + 3 and trained["full"] == trained["probe, then full"] == whole
    assert set(rows["parameters"]) == {whole}
    assert trained["LoRA of rank 2"] == 24 * 3 + 3 + sum(2 * (fan_in + out) for _, _, fan_in, out in CONVS[:-1])


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
    assert len(section.findings) == 4 and any("wider search" in note for note in section.notes)


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


def doses(study, **options):
    given = {"rates": [1], "head_rates": [1], "lora_rates": [2], "top": [], "seeds": 1} | options
    plan = module.plan(study, module.Options.model_validate(given))
    return {labels["way"]: step for labels, step in plan}


def test_lora_and_layer_decay_are_doses_of_their_own(study):
    steps = doses(study, lora=[16, 4, 4], layer_decay=[0.5])
    assert [*steps] == ["linear probe", "LoRA of rank 4", "LoRA of rank 16", "full", "full, layer decay 0.5", BOTH]
    run = {way: step.params["run"].params for way, step in steps.items()}
    assert run["LoRA of rank 4"]["trainable"] == "lora:4" and run["LoRA of rank 4"]["lr"] == 0.1
    assert run["full, layer decay 0.5"]["layer_decay"] == 0.5 and run["full, layer decay 0.5"]["trainable"] == "all"
    plain = doses(study)
    assert all(steps[way].key == step.key for way, step in plain.items()), "what was asked before keeps its keys"


def test_what_is_no_dose_is_one_sentence(study, monkeypatch):
    with pytest.raises(UserError, match=r"^analyses.tuning.layer_decay: 1 is the recipe's own"):
        doses(study, layer_decay=[1.0])
    monkeypatch.setattr("transferscope.analyses.tuning.doses.adaptable_weights", lambda *_: ())
    with pytest.raises(UserError, match=r"^analyses.tuning.lora: smoke.nets:tiny has neither a linear layer nor"):
        doses(study, lora=[4])
    with pytest.raises(UserError, match=r"^analyses.tuning: lora.0: input should be greater"):
        analyses.options("tuning", {"lora": [0]})


def test_crops_of_a_probe_are_counted_where_there_are_any(tmp_path):
    def probe(*changes, **options):
        study = Study.load(smoke.write(tmp_path), {"analyses": "[tuning]", **dict(changes)})
        steps = doses(study, **options)
        return steps["linear probe"].params, steps["full"].params

    cut, few = probe()[0], probe(views=2)[0]
    assert few["run"].params["views"] == 2 == few["looks"] and cut["run"].params["views"] is cut["looks"] is None
    plain, full = probe(("recipe.augment", "null"))
    assert plain["looks"] == 1 and full["looks"] is None
    for changes, why in (
        ({"recipe.augment": "null"}, "nothing is augmented"),
        ({"recipe.mixup": "0.2"}, "images are mixed anew"),
    ):
        with pytest.raises(UserError, match=f"^analyses.tuning.views: {why}"):
            probe(*changes.items(), views=2)
    assert probe(("recipe.mixup", "0.2"), ("recipe.augment", "null"))[0]["looks"] is None


VIT = """\
name: vit
targets: {shapes: "folder:images"}
network: toy.nets:vit
pretrained: file:vit.safetensors
image_size: 12
arms: [pretrained]
seeds: 2
recipe: {epochs: 2, batch_size: 16, lr: 0.01, optimizer: adamw, augment: null, precision: float32, evaluate: 16}
analyses: {tuning: {top: [3], lora: [2, 4], layer_decay: [0.5], rates: [1], head_rates: [1], lora_rates: [1, 3]}}
"""


@pytest.fixture(scope="module")
def vit(tmp_path_factory):
    """A vision transformer without augmentation: what is frozen is computed once."""
    from safetensors.torch import save_file
    from toy.nets import vit

    folder = tmp_path_factory.mktemp("vit")
    smoke.write(folder)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        save_file(vit(1000).state_dict(), folder / "vit.safetensors")
    (folder / "study.yaml").write_text(VIT, encoding="utf-8")
    return finish(folder / "study.yaml", {})


@pytest.mark.slow
def test_a_transformer_is_tuned_in_every_way(vit):
    rows, study = vit.table("tuning").rows, vit.study
    assert [*rows["way"].unique(maintain_order=True)] == [
        "linear probe",
        "top 3 of 6 blocks",
        "LoRA of rank 2",
        "LoRA of rank 4",
        "full",
        "full, layer decay 0.5",
        BOTH,
    ]
    net = build_network(study.network, 3, seed=0).eval()
    whole = sum(p.numel() for p in net.parameters())
    matrices = [
        p for name, p in net.named_parameters() if name.endswith("weight") and p.ndim > 1 and "head" not in name
    ]
    bodies = [(len(weight), weight[0].numel()) for weight in matrices]
    said = {row["way"]: row for row in rows.filter(pl.col("seed") == 0).iter_rows(named=True)}
    assert {row["parameters"] for row in said.values()} == {whole}
    head = net.head.weight.numel() + net.head.bias.numel()
    for rank in (2, 4):
        assert said[f"LoRA of rank {rank}"]["trained"] == head + sum(rank * (out + into) for out, into in bodies)
    images = 120 - sum(r["images"] for r in vit.store.get(study.data("shapes")).rows if r["split"] != "train")
    cost.freeze(net, "all", 3)
    full = cost.step_flops(net, picture(12))
    assert said["full"]["training_flops"] == said["full, layer decay 0.5"]["training_flops"] == 2 * images * full
    below = images * (sum(forward_flops(net, picture(12)).values()) - 2 * 24 * 3)  # all but the head
    assert said["linear probe"]["training_flops"] == pytest.approx(below + 2 * images * 2 * 2 * 24 * 3, rel=1e-6)
    assert said[BOTH]["training_flops"] == said["linear probe"]["training_flops"] + said["full"]["training_flops"]
    low, high = (said[f"LoRA of rank {rank}"]["training_flops"] for rank in (2, 4))
    assert 0.6 * 2 * images * full < low < high
    for (way, _), step in cells(vit).items():
        kept = vit.store.get(step.params["run"])
        start, end = (load_file(kept.path / f"{name}.safetensors") for name in ("epoch-0000", "final"))
        assert start.keys() == end.keys() == net.state_dict().keys()
        once = json.loads((kept.path / "run.json").read_text()).get("frozen_once", False)
        assert once == (way in ("linear probe", "top 3 of 6 blocks")), way
    section = vit.section("tuning")
    texts = " ".join(f.text for f in section.findings)
    assert "LoRA" in texts and "full fine-tuning with layer decay 0.5 comes out" in texts
    assert all(chart.spec.to_dict() for chart in section.charts)


def test_what_lora_costs_is_what_torch_counts():
    """Its own counter, which is right where no convolution is grouped, with attention as plain products."""
    net = build_network("toy.nets:vit", 5, seed=0).eval()
    adapted = cost.adapters(net, "lora:3", 5, picture(12))
    found = cost.step_flops(net, picture(12), adapted)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        net(torch.zeros(1, 3, 12, 12)).sum().backward()
    assert found == counter.get_total_flops()


LEVELS = {
    "linear probe": 0.70,
    "top 2 of 4 blocks": 0.896,
    "top 3 of 4 blocks": 0.90,
    "full": 0.90,
    "probe, then full": 0.91,
}
WORK = dict(zip(LEVELS, (0.34, 0.5, 0.8, 1.0, 1.34), strict=True))


LORA = {"LoRA of rank 4": 0.897, "LoRA of rank 16": 0.90, "full, layer decay 0.75": 0.92}
WORK |= dict(zip(LORA, (0.7, 0.75, 1.0), strict=True))
TRAINED = {"LoRA of rank 4": 5, "LoRA of rank 16": 20}


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
            "trained": TRAINED.get(way, 50),
            "training_flops": 1e9 * WORK[way],
        }
        for way, level in levels.items()
        for seed in range(seeds)
        for end in [level + draw.normal(0, noise)]
    ]
    return ResultTable(pl.DataFrame(rows))


def said(table, word, **options):
    section = module.section(table, module.Options.model_validate(options))
    return next((f for f in section.findings if word in f.text), None)


def test_the_cheapest_that_is_enough():
    """Shown to lose less than the margin, asked from the costliest down."""
    found = said(made(LEVELS | {"top 2 of 4 blocks": 0.903}, noise=0.004), "is enough")
    assert "training the top 2 of 4 blocks is enough, for 50% of the work" in found.text and found.n == 7
    assert "it ends at most 0.2 points below it (one-sided 95%), within the margin of 1 point" in found.text
    assert found.text.endswith("; a linear probe ends further below.")
    strict = said(made(noise=0.0005), "is enough", margin=0.3).text
    assert "top 3 of 4 blocks is enough" in strict and "training the top 2 of 4 blocks ends further below" in strict
    assert "a linear probe is enough" in said(made(), "is enough", margin=30).text
    worse = made(LEVELS | {"top 2 of 4 blocks": 0.8, "top 3 of 4 blocks": 0.85})
    found = said(worse, "no cheaper way is shown to be enough")
    assert "even training the top 3 of 4 blocks, the costliest of them, ends more than 1 point below" in found.text
    assert found.effect < -4


def test_nothing_is_asked_beyond_the_first_that_is_not_shown():
    """Of many ways some would pass by luck; a fixed order keeps the chance at 5%."""
    gap = made(LEVELS | {"linear probe": 0.93, "top 2 of 4 blocks": 0.8})
    assert "top 3 of 4 blocks is enough" in said(gap, "enough").text


def test_what_is_not_seen_to_be_worse_is_not_enough():
    """With one or two seeds, or much noise, no interval shows that a way is below: nor that it is not."""
    for table in (made(seeds=1, noise=0), made(seeds=2, noise=0.02), made(noise=0.03), made(seeds=3, noise=0)):
        text = said(table, "enough").text
        assert "it is undecided whether a cheaper way is enough" in text and "is enough," not in text
    assert "1 seed does not tell whether training the top 3" in said(made(seeds=1), "enough").text


def test_the_least_rank_that_is_enough():
    """Ranks are a sequence of their own: they change nothing of what is said about freezing."""
    table = made(LEVELS | LORA, noise=0.0005)
    text = said(table, "LoRA of rank 4 is enough").text
    assert "for 5.0% of the trained parameters and 70% of the work of full fine-tuning: it ends at most" in text
    plain, with_lora = (said(made(levels, noise=0), "of the work") for levels in (LEVELS, LEVELS | LORA))
    assert plain.text == with_lora.text and "LoRA" not in plain.text
    strict = said(table, "LoRA of rank 16 is enough", margin=0.2).text
    assert strict.endswith("; LoRA of rank 4 ends further below.")
    low = {"LoRA of rank 4": 0.5, "LoRA of rank 16": 0.6}
    assert "no rank of LoRA is shown to be enough: even LoRA of rank 16" in said(made(LEVELS | low), "no rank").text
    assert "undecided whether LoRA is enough: 1 seed does not tell" in said(made(LEVELS | LORA, seeds=1), "LoRA").text
    card = module.section(table, module.Options()).cards[0]
    assert "LoRA" not in card.headline


def test_layer_decay_is_told():
    found = said(made(LEVELS | LORA), "layer decay")
    assert found.text == "On t, full fine-tuning with layer decay 0.75 comes out 2.0 points above full fine-tuning."


def test_probing_first_is_told():
    found = said(made(), "begins where the linear probe ended")
    assert "1.0 points above full fine-tuning from the pretrained weights." in found.text
    assert "do not tell" in said(made(noise=0.03), "begins where").text


def test_edges_of_the_search_are_told():
    rows = made().rows.with_columns(
        lr_place=pl.when(pl.col("way") == "full").then(pl.lit("highest")).otherwise("lr_place")
    )
    notes = module.section(ResultTable(rows), module.Options()).notes
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
    section = module.section(ResultTable(rows), module.Options())
    assert all(c.spec.to_dict() for c in section.charts)
    assert all("nan" not in f.text and f.text.endswith(".") for f in section.findings)
    assert module.section(ResultTable(pl.DataFrame()), module.Options()).notes


def test_auc_is_called_auc():
    assert "test AUC" in said(made(metric="auc"), "only the head").text
