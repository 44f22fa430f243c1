"""Transfer on made-up tables: which epoch is the best one, when an arm caught up, and what undefined scores do."""

import polars as pl
import pytest

from transferscope.analyses import transfer
from transferscope.engine.table import ResultTable

VAL = {"random": [0.1, 0.2, 0.4, 0.5, 0.5], "pretrained": [0.2, 0.5, 0.6, 0.6, 0.55]}


def _rows(val: dict[str, list[float | None]] = VAL, seeds: int = 2, test: float = 0.1) -> pl.DataFrame:
    """Curves of `val`; the test metric is `test` higher and the training metric twice as far from 1."""
    rows = []
    for arm, curve in val.items():
        for seed in range(seeds):
            for epoch, value in enumerate(curve):
                score = None if value is None else value + test
                rows.append(
                    {
                        "target": "t",
                        "arm": arm,
                        "seed": seed,
                        "epoch": epoch,
                        "metric": "accuracy",
                        "lr": 0.1,
                        "train_metric": score,
                        "val_metric": value,
                        "test_metric": score,
                        "train_loss": 2.0 - epoch / 10,
                        "val_loss": 1.0,
                        "test_loss": 1.0,
                        "running_loss": 1.0,
                        "running_accuracy": 0.5,
                    }
                )
    return pl.DataFrame(rows, infer_schema_length=None)


def _section(rows: pl.DataFrame):
    return transfer.section(ResultTable(rows, []), transfer.Options())


def test_the_best_epoch_is_the_first_of_the_highest_on_val() -> None:
    """As the run itself chose it."""
    rows = _rows()
    third = (pl.col("arm") == "pretrained") & (pl.col("epoch") == 3)
    rows = rows.with_columns(test_metric=pl.when(third).then(0.9).otherwise("test_metric"))
    runs = transfer.summarise(rows)
    best = {(arm, seed): value for arm, seed, value in runs.select("arm", "seed", "best").iter_rows()}
    assert best[("pretrained", 0)] == pytest.approx(0.7), "epoch 2, not its equal at epoch 3"
    assert best[("random", 1)] == pytest.approx(0.6)


def test_scores_of_all_test_images_come_before_those_of_a_sample() -> None:
    whole = pl.when(pl.col("epoch") == 2).then(0.66).when(pl.col("epoch") == 4).then(0.77)
    runs = transfer.summarise(_rows().with_columns(whole_test_metric=whole)).filter(pl.col("arm") == "pretrained")
    assert runs["best"].to_list() == [0.66, 0.66] and runs["final"].to_list() == [0.77, 0.77]
    assert transfer.summarise(_rows().with_columns(whole_test_metric=None))["final"].null_count() == 0


def test_a_fork_has_no_best_epoch_at_its_start() -> None:
    runs = transfer.summarise(_rows({"random": [0.9, 0.5, 0.6]}).with_columns(epoch=pl.col("epoch") + 4))
    assert runs["best"].to_list() == pytest.approx([0.7, 0.7]) and runs["speed"].to_list() == pytest.approx([0.65] * 2)


def test_epochs_after_an_early_stop_count_and_are_said_but_not_drawn() -> None:
    rows = _rows({"random": [0.1, 0.2, 0.4, 0.5, 0.6], "pretrained": [0.2, 0.5, 0.5, 0.5, 0.5]})
    rows = rows.with_columns(stopped=(pl.col("arm") == "pretrained") & (pl.col("epoch") > 2))
    speeds = transfer.summarise(rows).filter(pl.col("arm") == "pretrained")["speed"].to_list()
    assert speeds == pytest.approx([0.6, 0.6]), "over the same epochs as the other arm"
    found = _section(rows)
    (note,) = [note for note in found.notes if "early_stopping" in note]
    assert "seed by seed: random after 4 and 4; pretrained after 2 and 2 of 4 epochs" in note
    assert not any("early_stopping" in note for note in _section(_rows()).notes)
    (drawn,) = found.charts[0].spec.to_dict()["datasets"].values()
    single, mean = ([row for row in drawn if (row["seed"] is None) == whole] for whole in (False, True))
    assert max(row["epoch"] for row in single if row["arm"] == "pretrained") == 2
    assert max(row["epoch"] for row in mean if row["arm"] == "pretrained") == 4


def test_the_start_is_never_the_best_epoch() -> None:
    runs = transfer.summarise(_rows({"random": [0.9, 0.2, 0.3]}))
    assert runs["best"].to_list() == pytest.approx([0.4, 0.4])


def test_without_a_val_metric_the_best_is_the_last() -> None:
    rows = _rows().with_columns(val_metric=pl.lit(None, pl.Float64))
    assert transfer.summarise(rows)["best"].to_list() == transfer.summarise(rows)["final"].to_list()
    said = " ".join(f.text for f in _section(rows).findings)
    assert "On t, the pretrained arm's training accuracy" in said and "reached" not in said


def test_catching_up_is_read_on_the_validation_images() -> None:
    rows = _rows().with_columns(test_metric=pl.when(pl.col("epoch") == 4).then("test_metric").otherwise(0.0))
    text = " ".join(f.text for f in _section(rows).findings)
    assert "reached the random arm's final validation score at epoch 1 of 4." in text
    slow = {"random": VAL["random"], "pretrained": [0.1, 0.2, 0.3, 0.3, 0.45]}
    assert "never reached the random arm's final score" in " ".join(f.text for f in _section(_rows(slow)).findings)


def test_two_seeds_judge_nothing() -> None:
    assert {f.verdict for f in _section(_rows()).findings} == {"open", None}
    assert "supports" in {f.verdict for f in _section(_rows(seeds=6)).findings}


def test_a_run_that_has_not_learnt_decides_nothing_and_is_named() -> None:
    """Seed 2 from scratch: its training loss rises. Its gain of 30 points is no gain of pretraining."""
    rows = _rows(seeds=4)
    noise = 0.01 * pl.col("seed") * (pl.col("arm") == "pretrained").cast(pl.Float64)
    rows = rows.with_columns(test_metric=pl.col("test_metric") + noise)
    lost = (pl.col("arm") == "random") & (pl.col("seed") == 2)
    failed = rows.with_columns(
        train_loss=pl.when(lost).then(2.0 + pl.col("epoch")).otherwise("train_loss"),
        test_metric=pl.when(lost & (pl.col("epoch") == 4)).then(0.3).otherwise("test_metric"),
    )
    section = _section(failed)
    gain = section.findings[0]
    assert gain.n == 3 and gain.effect == pytest.approx(5 + 100 * 0.01 * (0 + 1 + 3) / 3) and gain.claim == 1
    (note,) = (note for note in section.notes if "leave out seed 2" in note)
    assert "with it the gain would be" in note and "n = 4" in note
    assert any("random arm ended with a higher training loss" in note for note in section.notes)
    none = _section(failed.with_columns(train_loss=2.0 + pl.col("epoch")))
    assert none.findings[0].claim is None and none.findings[0].n == 4, "all failed: told, and judged by nobody"
    assert not any("leave out" in note for note in _section(rows).notes)
