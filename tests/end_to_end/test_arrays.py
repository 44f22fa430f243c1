"""A study of signals, from a file of arrays to the page: inputs of numbers are treated as pictures are."""

import re
from pathlib import Path

import polars as pl
import pytest
import yaml
from contract.sources import signals

TEXT = """\
name: signals
input: {arrays: {jitter: 0.05, crop: 0.9}}
targets: {waves: "npz:signals.npz"}
network: newcomers.series:small
pretrained: file:weights.safetensors
seeds: 2
recipe: {epochs: 3, batch_size: 8, lr: 0.05, precision: float32}
analyses:
  transfer: {}
  mistakes: {}
  similarity: {}
  distance: {}
  spectrum: {}
  reuse: {at: [1]}
  shuffle: {blocks: [1, 8, channels], seeds: 1}
  barrier: {alphas: 3}
  average: {steps: 2}
  rewind: {checkpoints: none, redraw: none}
  criticality: {images: 24, alphas: 2, sigmas: 2, draws: 1, valleys: none}
resources: {device: cpu, executor: inline}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    from safetensors.torch import save_file

    from transferscope.models.build import build_network

    made: Path = tmp_path_factory.mktemp("signals")
    signals(made / "signals.npz")
    save_file(build_network("newcomers.series:small", 4, seed=1000).state_dict(), made / "weights.safetensors")
    (made / "study.yaml").write_text(TEXT, encoding="utf-8")
    return made


@pytest.mark.slow
def test_the_battery_runs_on_signals(folder: Path, call) -> None:
    done = call("run", cwd=folder)
    assert done.code == 0, done.out + done.err
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "in blocks of 8 values" in page and "less the mean of their channel" in page
    assert "blocks of 8 px" not in page
    shown = re.sub(r"<script.*?</script>", "", page[page.index("<body") :], flags=re.DOTALL).lower()
    assert "test arrays" in shown and "training images" not in shown and "test images" not in shown
    rows = pl.read_csv(folder / "tables" / "shuffle.csv")
    assert set(rows["block"].drop_nulls().cast(pl.String)) == {"1", "8", "channels", "whole"}
    again = call("run", cwd=folder)
    assert again.code == 0 and "done train" not in again.out


def test_check_says_what_the_arrays_are(folder: Path, call) -> None:
    done = call("check", cwd=folder)
    assert done.code == 0, done.out + done.err
    assert "arrays of 2 x 48 values, from -" in done.out and "normalised with mean" not in done.out


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("input={arrays: {jiter: 0.1}}", "input.arrays: unknown key 'jiter'; did you mean 'jitter'?"),
        ("input={arrays: {crop: 2}}", "input.arrays: crop: input should be less than or equal to 1"),
        ("input={images: {crop: 1}}", "input: 'images' takes no options"),
        ("input={arrays: {}, images: {}}", "write one kind of input"),
        ("input=images", "holds arrays, no pictures; write 'input: arrays'"),
        ("targets=digits", "holds images; remove the key, or give arrays"),
        ("analyses={shuffle: {blocks: [5]}}", "5 does not divide 48 values; sizes that do: 1, 2, 3"),
        ("targets=npz:nothing.npz", "does not exist"),
        ("recipe.augment={flip: true}", "recipe.augment: it cuts images, and the input is arrays"),
    ],
)
def test_what_cannot_be_is_one_sentence(folder: Path, call, change: str, sentence: str) -> None:
    found = call("check", "--set", change, cwd=folder)
    assert found.code in (2, 3) and sentence in found.out + found.err, found.out + found.err


def test_options_that_change_nothing_are_no_other_question(folder: Path) -> None:
    """What training is told is part of a run's key, not of the table's; the scale is the other way round."""
    from transferscope.study import Study

    def keys(said: str) -> tuple[str, str]:
        study = Study.load(folder / "study.yaml", {"input": said})
        return study.data("waves").key, study.run("waves", "random", 0).key

    plain = keys("arrays")
    assert keys("{arrays: {jitter: 0, scale: standard}}") == plain
    louder = keys("{arrays: {jitter: 0.1}}")
    assert louder[0] == plain[0] and louder[1] != plain[1]
    assert keys("{arrays: {scale: none}}")[0] != plain[0]


def test_init_writes_a_study_of_arrays(folder: Path, call) -> None:
    wrote = call("init", "signals.npz", "--out", "own.yaml", "--network", "newcomers.series:small",
                 "--weights", "file:weights.safetensors", cwd=folder)  # fmt: skip
    assert wrote.code == 0 and "Found 60 arrays of 2 x 48 values, from -" in wrote.out, wrote.err
    checked = call("check", "own.yaml", "--set", "recipe.epochs=1", cwd=folder)
    assert checked.code == 0, checked.out + checked.err
    alone = call("init", "signals.npz", "--out", "other.yaml", cwd=folder)
    assert alone.code == 2 and "say which network takes them: --network" in alone.err


def test_init_writes_out_which_columns_of_a_table_make_up_an_example(tmp_path: Path, call) -> None:
    table = {"cell": range(60), **{f"f{i}": [(7 * i + n) % 11 / 3 for n in range(60)] for i in range(4)}}
    pl.DataFrame({**table, "label": ["a", "b"] * 30}).write_parquet(tmp_path / "cells.parquet")
    how = ("--network", "newcomers.series:small", "--weights", "file:weights.safetensors")
    wrote = call("init", "cells.parquet", *how, cwd=tmp_path)
    assert wrote.code == 0 and "Columns taken for an example: 'f0', 'f1', 'f2', 'f3'; look them over." in wrote.out
    target = yaml.safe_load((tmp_path / "study.yaml").read_text(encoding="utf-8"))["targets"]["cells"]
    assert target == {
        "ref": "parquet:cells.parquet",
        "columns": {"label": "label", "values": ["f0", "f1", "f2", "f3"]},
    }
