"""The checkpoint analysis: its steps for series and pretrainings, the earliest that does, and claim 10."""

import os

import numpy as np
import polars as pl
import pytest
import torch
from smoke import nets
from smoke import study as smoke

from transferscope import analyses, battery
from transferscope.engine.table import Table, gather
from transferscope.engine.work import Work
from transferscope.engine.worker import execute
from transferscope.errors import UserError
from transferscope.study import Study

os.environ["HF_HUB_OFFLINE"] = "1"
torch.set_num_threads(1)
module = analyses.load("checkpoint")
SMALL = "{checkpoint: {images: 24, alphas: 3, seeds: 1}}"


def finish(path, changes):
    """Every step that can be done; the sentences of those that cannot."""
    study = Study.load(path, changes)
    plan, store = battery.plan(study)
    store.prepare()
    errors = {}
    for step in plan.todo(store):
        if all(store.has(i) for i in step.inputs):
            done = execute(step.recipe, store, Work(store.root))
            errors |= {step.key: done.error} if done.status != "done" else {}
    cells = [cell for cell in plan.cells if cell.analysis == "checkpoint"]
    return cells, gather(cells, store, errors), list(errors.values())


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """A pretraining inside the study, with true and with random labels."""
    path = smoke.write(tmp_path_factory.mktemp("here"))
    how = "{source: 'folder:images', labels: [true, random], recipe: {epochs: 4, augment: null}}"
    return finish(path, {"pretrained": how, "analyses": SMALL})


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """Four files of which one is cut short and one is of another network."""
    from safetensors.torch import save_file

    path = smoke.write(tmp_path_factory.mktemp("given"))
    for epoch in (1, 2, 10):
        save_file(nets.weights(seed=epoch), path.parent / f"epoch_{epoch}.safetensors")
    whole = (path.parent / "epoch_2.safetensors").read_bytes()
    (path.parent / "epoch_2.safetensors").write_bytes(whole[: len(whole) // 2])
    save_file(nets.weights(4, nets.wider(1000)), path.parent / "epoch_3.safetensors")
    return finish(path, {"pretrained": "{series: 'epoch_*.safetensors'}", "analyses": SMALL})


def test_a_pretraining_is_swept_with_both_labels(here) -> None:
    cells, table, errors = here
    assert not errors and not table.missing
    runs = [cell.labels for cell in cells if cell.labels["what"] == "run"]
    assert [(r["track"], r["pretrained_epochs"]) for r in runs] == [
        (track, epoch) for track in ("true", "random") for epoch in (0, 1, 2, 4)
    ]
    section = module.section(table, module.Options())
    texts = " ".join(f.text for f in section.findings)
    assert "pretraining with random labels" in texts and "rank like this on the target" in texts
    names = {c.name for c in section.charts}
    assert {"shapes-final", "shapes-speed", "source", "the-source-barrier", "the-source-cka"} == names
    assert all(c.spec.to_dict() for c in section.charts)
    cka = table.rows.filter((pl.col("what") == "cka") & (pl.col("layer_a") == pl.col("layer_b")))
    assert cka["pretrained_epochs"].n_unique() == 3


def test_a_damaged_checkpoint_fails_alone_in_one_sentence(given) -> None:
    cells, table, errors = given
    assert [c.labels["pretrained_epochs"] for c in cells if c.labels["what"] == "run"] == [1, 2, 3, 10]
    said = " ".join(errors)
    assert "epoch_2.safetensors' is cut short (60,768 of 121,536 bytes)" in said
    assert "use weights of this architecture" in said
    done = set(table.rows.filter(pl.col("what") == "run")["pretrained_epochs"])
    assert done == {1, 10}
    section = module.section(table, module.Options())
    assert section.tables[0].rows.height == 2
    assert {c.name for c in section.charts} == {"shapes-final", "shapes-speed", "shapes-barrier", "shapes-cka"}


def test_without_checkpoints_it_says_what_to_add(tmp_path) -> None:
    study = Study.parse({"targets": {"digits": "digits"}, "network": "smoke.nets:tiny", "arms": ["random"]})
    with pytest.raises(UserError, match=r"analyses\.checkpoint: there are no checkpoints"):
        list(module.plan(study, module.Options()))


def made(finals, seeds=7, speed=None):
    """Runs whose final metric depends on the checkpoint as told, a little on the seed."""
    draw = np.random.default_rng(0)
    rows = []
    for place, (epoch, final) in enumerate(finals.items()):
        for seed in range(seeds):
            for e in range(3):
                value = final + 0.001 * draw.normal() if e == 2 else 0.1
                rows.append(
                    {
                        "what": "run",
                        "target": "t",
                        "track": "given",
                        "checkpoint": f"epoch_{epoch}",
                        "pretrained_epochs": epoch,
                        "place": place,
                        "seed": seed,
                        "epoch": e,
                        "metric": "accuracy",
                        "train_loss": 1.0,
                        "train_metric": value,
                        "val_metric": value,
                        "test_metric": value,
                    }
                )
    return Table(pl.DataFrame(rows))


PAPER = {0: 0.61, 1: 0.62, 10: 0.735, 29: 0.783, 60: 0.784, 90: 0.784}


def test_the_earliest_checkpoint_that_does_is_named() -> None:
    found = module.section(made(PAPER), module.Options()).findings
    assert "epoch 60 cannot be told from the best checkpoint" in found[0].text or "epoch 90" in found[0].text
    level = {0: 0.6, 45: 0.6, 90: 0.6009}
    assert "saving 100% of the pretraining" in module.section(made(level), module.Options()).findings[0].text
    few = module.section(made(level, seeds=2), module.Options()).findings[0].text
    assert "may be too few" in few and "saving" not in few
    falling = module.section(made({0: 0.6, 45: 0.5, 90: 0.4}), module.Options()).findings[0].text
    assert "no later checkpoint is better on average than epoch 0" in falling
    rising = {0: 0.2, 45: 0.4, 90: 0.6}
    assert "no checkpoint before epoch 90" in module.section(made(rising), module.Options()).findings[0].text


def test_verdict_on_claim_ten() -> None:
    def judged(finals, seeds=7):
        return next(f for f in module.section(made(finals, seeds), module.Options()).findings if f.claim == 10)

    assert judged(PAPER).verdict == "supports"
    assert "epoch 29" in judged(PAPER).text
    assert judged({0: 0.2, 45: 0.25, 90: 0.6}).verdict == "contradicts"
    assert judged(PAPER, seeds=3).verdict == "open"
    flat = judged({0: 0.6, 45: 0.6, 90: 0.6})
    assert flat.verdict == "open" and "not clearly above 0" in flat.text


def test_a_pretraining_that_learnt_nothing_is_named(here) -> None:
    _, table, _ = here
    is_source = pl.col("what") == "source"
    flat = table.rows.with_columns(
        pl.when(is_source).then(0.02).otherwise(pl.col("train_metric")).alias("train_metric")
    )
    notes = module.section(Table(flat), module.Options()).notes
    assert sum("has learnt next to nothing (training metric 2.0% to 2.0%)" in note for note in notes) == 2
    rising = pl.when(is_source).then(pl.col("epoch") / 10).otherwise(pl.col("train_metric")).alias("train_metric")
    assert "next to nothing" not in " ".join(
        module.section(Table(table.rows.with_columns(rising)), module.Options()).notes
    )


def test_runs_that_learnt_nothing_are_counted() -> None:
    rows = made(PAPER).rows.with_columns(train_loss=pl.lit(1.0) + pl.col("epoch") * (pl.col("place") == 0))
    assert "On t, 7 of 42 runs ended with a higher" in " ".join(module.section(Table(rows), module.Options()).notes)


def test_the_section_survives_gaps(here) -> None:
    _, table, _ = here
    assert module.section(Table(pl.DataFrame()), module.Options()).notes
    for what in ("run", "source", "line", "cka"):
        for keep in (pl.col("what") == what, pl.col("what") != what):
            section = module.section(Table(table.rows.filter(keep)), module.Options())
            assert all(c.spec.to_dict() for c in section.charts)
    one = table.rows.filter((pl.col("what") == "run") & (pl.col("place") == 0))
    assert "one checkpoint only" in " ".join(module.section(Table(one), module.Options()).notes)


def test_random_labels_claim_no_basin_and_no_order() -> None:
    """Trained on random labels every save scores chance on the source: a line between two cannot have a barrier."""
    runs = made({0: 0.6, 2: 0.5, 4: 0.4}).rows.with_columns(track=pl.lit("random"))
    label = {"target": None, "track": "random", "seed": None}
    more = [
        {**label, "what": "line", "checkpoint": f"epoch_{e}", "pretrained_epochs": e, "place": i, "barrier": 0.0}
        for i, e in enumerate((0, 2))
    ]
    more += [
        {
            **label,
            "what": "source",
            "checkpoint": "epoch_4",
            "pretrained_epochs": 4,
            "place": 2,
            "epoch": e,
            "test_metric": 0.1 + e / 1e3,
            "train_metric": 0.2,
        }
        for e in (0, 2, 4)
    ]
    rows = pl.concat([runs, pl.DataFrame(more, infer_schema_length=None)], how="diagonal_relaxed")
    section = module.section(Table(rows), module.Options())
    said = " ".join(f.text for f in section.findings)
    assert "basin" not in said and "rank like this" not in said
    assert "is 40.0% after pretraining with random labels to epoch 4 and 60.0% after epoch 0" in said
    (barrier,) = [c for c in section.charts if c.name == "the-source-barrier"]
    assert "no barrier can show" in barrier.caption
    true = pl.concat([rows.with_columns(track=pl.lit("true"))])
    said = " ".join(f.text for f in module.section(Table(true), module.Options()).findings)
    assert "the final basin" in said and "rank like this" in said
