"""The checkpoint analysis: its steps for series and pretrainings, the earliest that does, and claim 10."""

import numpy as np
import polars as pl
import pytest
from smoke import nets
from smoke import study as smoke

from transferscope import analyses, battery
from transferscope.analyses._shared import contrasts
from transferscope.engine.table import ResultTable, gather
from transferscope.engine.task_context import Work
from transferscope.engine.worker import execute
from transferscope.errors import UserError
from transferscope.measures.deciding import sequential
from transferscope.study import Study

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
            done = execute(step.job, store, Work(store.root))
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
    assert "pretraining with random labels" in texts and "rank of a checkpoint by its source metric" in texts
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
    return ResultTable(pl.DataFrame(rows))


PAPER = {0: 0.61, 1: 0.62, 10: 0.735, 29: 0.783, 60: 0.784, 90: 0.784}


def test_the_earliest_checkpoint_that_does_is_named() -> None:
    found = module.section(made(PAPER), module.Options()).findings
    assert "epoch 29 is within 1 point of the best checkpoint in final test metric" in found[0].text
    assert "behind, one-sided 95%" in found[0].text
    wide = module.section(made(PAPER), module.Options(margin=6)).findings[0].text
    assert "epoch 10 is within 6 points of the best" in wide
    level = {0: 0.6, 45: 0.6, 90: 0.6009}
    assert "saving 100% of the pretraining" in module.section(made(level), module.Options()).findings[0].text
    few = module.section(made(level, seeds=2), module.Options()).findings[0].text
    assert "with 2 seeds" in few and "saving" not in few
    alone = module.section(made(level, seeds=1), module.Options()).findings[0].text
    assert "it is undecided which checkpoint is within 1 point of the best" in alone and "with 1 seed not even" in alone
    falling = module.section(made({0: 0.6, 45: 0.5, 90: 0.4}), module.Options()).findings[0].text
    assert "epoch 0 is within 1 point of every later checkpoint" in falling
    rising = {0: 0.2, 45: 0.4, 90: 0.6}
    assert "no checkpoint before epoch 90" in module.section(made(rising), module.Options()).findings[0].text


def test_the_best_checkpoint_is_not_behind_itself() -> None:
    for levels in ({0: 0.2, 45: 0.4, 90: 0.6}, {0: 0.6, 45: 0.5, 90: 0.4}):
        section = module.section(made(levels), module.Options())
        assert (section.findings[0].effect, section.findings[0].low) == (None, None)
    (card,) = section.cards  # the falling one
    assert (card.light, card.effect) == ("yes", None) and "epoch 0" in card.headline


def test_a_study_that_looks_often_lights_its_card_by_its_own_level() -> None:
    (card,) = module.section(made(PAPER, seeds=4), module.Options()).cards
    assert card.light == "yes" and card.again(0.01).light == "yes"
    assert card.again(1e-12).light == "unsure"


@pytest.mark.parametrize("seeds", [4, 7])
def test_card_and_finding_name_the_same_checkpoint_at_every_level(seeds: int) -> None:
    """A study that looks more than once asks more of both: what one calls shown the other does not leave open."""
    design = sequential(3, 7)
    section = contrasts.judge(module.section(made(PAPER, seeds=seeds), module.Options()), design, seeds)
    (card,) = section.cards
    near = next(f.text for f in section.findings if "of the best checkpoint in final test metric" in f.text)
    name = near.partition(" is within")[0].rpartition(", ")[2]
    assert f"{name} is as good as the later ones" in card.headline
    assert f"one-sided {100 * (1 - design.level(seeds)):.3g}%" in near and "95%" not in near
    plain = module.section(made(PAPER, seeds=seeds), module.Options())
    assert any("one-sided 95%" in f.text for f in plain.findings)
    assert any("it is undecided" in (f.again(1e-12) or f).text for f in plain.findings if f.again)


def test_verdict_on_claim_ten() -> None:
    def judged(finals, seeds=7):
        return next(f for f in module.section(made(finals, seeds), module.Options()).findings if f.claim == 10)

    assert judged(PAPER).verdict == "supports"
    assert "epoch 29" in judged(PAPER).text
    assert judged({0: 0.2, 45: 0.25, 90: 0.6}).verdict == "contradicts"
    assert judged(PAPER, seeds=2).verdict == "open"
    flat = judged({0: 0.6, 45: 0.6, 90: 0.6})
    assert flat.verdict == "open" and "not clearly above 0" in flat.text


def test_a_pretraining_that_learnt_nothing_is_named(here) -> None:
    _, table, _ = here
    is_source = pl.col("what") == "source"
    flat = table.rows.with_columns(
        pl.when(is_source).then(0.02).otherwise(pl.col("train_metric")).alias("train_metric")
    )
    notes = module.section(ResultTable(flat), module.Options()).notes
    assert sum("has learnt next to nothing (training metric 2.0% to 2.0%)" in note for note in notes) == 2
    rising = pl.when(is_source).then(pl.col("epoch") / 10).otherwise(pl.col("train_metric")).alias("train_metric")
    assert "next to nothing" not in " ".join(
        module.section(ResultTable(table.rows.with_columns(rising)), module.Options()).notes
    )


def test_runs_that_learnt_nothing_are_counted() -> None:
    rows = made(PAPER).rows.with_columns(train_loss=pl.lit(1.0) + pl.col("epoch") * (pl.col("place") == 0))
    assert "On t, 7 of 42 runs ended with a higher" in " ".join(
        module.section(ResultTable(rows), module.Options()).notes
    )


def test_the_section_survives_gaps(here) -> None:
    _, table, _ = here
    assert module.section(ResultTable(pl.DataFrame()), module.Options()).notes
    for what in ("run", "source", "line", "cka"):
        for keep in (pl.col("what") == what, pl.col("what") != what):
            section = module.section(ResultTable(table.rows.filter(keep)), module.Options())
            assert all(c.spec.to_dict() for c in section.charts)
    one = table.rows.filter((pl.col("what") == "run") & (pl.col("place") == 0))
    assert "one checkpoint only" in " ".join(module.section(ResultTable(one), module.Options()).notes)


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
    section = module.section(ResultTable(rows), module.Options())
    said = " ".join(f.text for f in section.findings)
    assert "basin" not in said and "by its source metric" not in said
    assert "is 40.0% after pretraining with random labels to epoch 4 and 60.0% after epoch 0" in said
    (barrier,) = [c for c in section.charts if c.name == "the-source-barrier"]
    assert "no barrier can show" in barrier.caption
    true = pl.concat([rows.with_columns(track=pl.lit("true"))])
    said = " ".join(f.text for f in module.section(ResultTable(true), module.Options()).findings)
    assert "the final basin" in said and "by its source metric" in said
