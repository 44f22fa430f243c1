"""A study through the command line: every verb on a finished one, and what a second run does."""

import csv
import io
import json
import os
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

import pytest
from smoke import study
from smoke.command import environment, transferscope

VERBS = (
    "quickstart",
    "init",
    "check",
    "plan",
    "run",
    "serve",
    "compare",
    "status",
    "report",
    "results",
    "store",
    "verify",
    "gc",
    "export",
    "fetch",
    "schema",
    "bench",
    "ls",
)
INLINE = ("--set", "resources.executor=inline")


def test_a_run_ends_in_findings_tables_figures_and_a_page(finished: Path) -> None:
    said = (finished / "said.txt").read_text(encoding="utf-8")
    assert "the final test accuracy is" in said and "Report: report.html" in said
    assert len(list((finished / "store" / "ingest").iterdir())) == 1
    assert len(list((finished / "store" / "train").iterdir())) >= 4
    rows = list(csv.DictReader((finished / "tables" / "transfer.csv").open()))
    assert {(row["arm"], row["seed"], row["epoch"]) for row in rows} == {
        (arm, seed, epoch) for arm in ("random", "pretrained") for seed in "01" for epoch in "012"
    }
    summary = json.loads((finished / "results.json").read_text(encoding="utf-8"))
    assert all(not one["missing"] for one in summary["analyses"])
    for one in summary["analyses"]:
        for chart in one["charts"]:
            for kind in ("svg", "pdf"):
                assert (finished / "figures" / f"{chart['name']}.{kind}").stat().st_size > 500
    assert not list((finished / "store" / ".scratch").glob("*")), "a finished run leaves no scratch behind"


def test_the_resolved_study_lies_beside_the_results_and_plans_the_same_steps(finished: Path, call) -> None:
    given = json.loads(call("plan", "--json", cwd=finished).out)
    resolved = json.loads(call("plan", "resolved.yaml", "--json").out)
    assert [step["key"] for step in resolved["steps"]] == [step["key"] for step in given["steps"]]


def test_a_second_run_does_nothing(copied: Path, call) -> None:
    call("status", cwd=copied)  # the weights lie at a new path: their content is hashed once
    before, page = study.times(copied), (copied / "results.json").stat().st_mtime_ns
    done = call("run")
    assert done.code == 0, done.err
    assert "Nothing to do" in done.out and "the final test accuracy is" in done.out
    assert study.times(copied) == before
    assert (copied / "results.json").stat().st_mtime_ns == page


def test_plan_says_what_is_cached_and_what_is_not(finished: Path, call) -> None:
    said = json.loads(call("plan", "--json", cwd=finished).out)
    assert said["steps"] and all(step["cached"] for step in said["steps"])
    assert said["seconds"] == 0
    grown = json.loads(call("plan", "--json", "--set", "seeds=3").out)
    new = [step for step in grown["steps"] if not step["cached"]]
    seeds = {step["labels"].get("seed") for step in new if step["task"] == "train"}  # None: only read by other steps
    assert 2 in seeds and seeds <= {2, None}
    assert grown["seconds"] > 0 and grown["bytes"] > 0, "past runs tell how long"
    shown = call("plan", "--set", "seeds=3")
    assert shown.code == 0 and f"{len(new)} to do" in shown.out and "About" in shown.out
    assert "Networks are trained and scored in float32 (recipe.precision)." in shown.out


def test_a_plan_without_past_runs_asks_nothing_when_told_not_to(fresh: Path, call) -> None:
    said = call("plan", "--no-calibrate", cwd=fresh)
    assert said.code == 0 and "0 cached" in said.out
    assert not (fresh / "store" / "train").exists()


def test_a_plan_without_past_runs_times_the_network(fresh: Path) -> None:
    done = transferscope("plan", "--json", cwd=fresh)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert 0 < sum(step["seconds"] for step in said["steps"] if step["task"] == "train") < 600
    assert not (fresh / "store" / "train").exists(), "planning trains nothing"


def test_status_tells_done_from_missing(finished: Path, call) -> None:
    whole = call("status", cwd=finished)
    assert whole.code == 0 and "missing shapes" not in whole.out
    part = call("status", "--set", "seeds=3")
    assert part.code == 4
    assert "missing shapes random 2: not computed yet" in part.out


def test_report_is_written_again_from_the_store(copied: Path, call) -> None:
    kept = {name: (copied / name).read_bytes() for name in ("results.json", "tables/transfer.csv")}
    for name in (*kept, "report.html"):
        (copied / name).unlink()
    said = call("report", cwd=copied)
    assert said.code == 0 and "the final test accuracy is" in said.out
    assert {name: (copied / name).read_bytes() for name in kept} == kept
    page = (copied / "report.html").read_text(encoding="utf-8")
    assert "Networks were trained and scored in float32." in page and "<dt>Precision</dt><dd>float32</dd>" in page
    assert json.loads(kept["results.json"])["precision"] == "float32"


def test_an_incomplete_report_names_what_is_missing(copied: Path, call) -> None:
    assert call("report", "--set", "seeds=3", cwd=copied).code == 4
    page = (copied / "report.html").read_text(encoding="utf-8")
    assert "not computed yet" in page
    summary = json.loads((copied / "results.json").read_text(encoding="utf-8"))
    lost = next(one for one in summary["analyses"] if one["name"] == "transfer")["missing"]
    assert [cell["labels"]["seed"] for cell in lost] == [2, 2]


def test_results_are_the_tables_as_csv_and_json(finished: Path, call) -> None:
    text = call("results", "--analysis", "transfer", cwd=finished).out
    assert text.strip() == (finished / "tables" / "transfer.csv").read_text(encoding="utf-8").strip()
    rows = list(csv.DictReader(io.StringIO(text)))
    told = json.loads(call("results", "--format", "json").out)
    assert set(told) >= {"images", "transfer"}
    assert [str(row["test_metric"]) for row in told["transfer"]] == [row["test_metric"] for row in rows]


def test_results_say_that_some_are_missing(finished: Path, call) -> None:
    part = call("results", "--analysis", "transfer", "--set", "seeds=3", cwd=finished)
    assert part.code == 4 and part.err == "2 results are missing; 'transferscope status study.yaml' names them.\n"
    assert part.out == call("results", "--analysis", "transfer").out, "what is there is printed all the same"


def test_gc_deletes_only_what_no_study_asks_for_and_only_when_told(copied: Path, call) -> None:
    (copied / "small.yaml").write_text((copied / "study.yaml").read_text().replace("seeds: 2", "seeds: 1"))
    before = study.times(copied)
    assert "would delete" not in call("gc", "study.yaml", cwd=copied).out
    spared = call("gc", "small.yaml", "--yes").out
    assert "deleted" not in spared and f"kept for {copied / 'study.yaml'}" in spared, "it ran on this store"
    assert call("gc", "small.yaml", "study.yaml", "--yes").out.count("deleted") == 0, "what one study wants is kept"
    (copied / "study.yaml").rename(copied / "other.yaml")
    assert call("gc", "small.yaml").out.count("would delete train") >= 2
    assert study.times(copied) == before, "nothing goes without --yes"
    assert "delete" not in call("gc", "small.yaml", "--older-than", "1", "--yes").out, "all of it is of today"
    old = sorted((copied / "store" / "train").iterdir())
    for folder in old:
        os.utime(folder / "step.json", (time.time() - 90_000,) * 2)
    before = study.times(copied)
    aged = call("gc", "small.yaml", "--older-than", "1").out
    assert aged.count("would delete train") >= 2 and aged.count("would delete") == aged.count("would delete train")
    assert call("gc", "small.yaml", "--yes").out.count("deleted train") >= 2
    assert call("status", "small.yaml").code == 0
    assert call("status", "other.yaml").code == 4
    kept = study.times(copied)
    assert kept and kept.items() < before.items()


def test_verify_finds_damage_and_a_run_mends_it(copied: Path, call) -> None:
    assert call("verify", cwd=copied).code == 0
    before = {file.name: file.read_bytes() for file in (copied / "tables").iterdir()}
    weights = next((copied / "store" / "train").glob("*/final.safetensors"))
    data = bytearray(weights.read_bytes())
    data[len(data) // 2] ^= 1
    weights.write_bytes(data)
    found = call("verify")
    assert (
        found.code == 1
        and "final.safetensors has changed since it was written" in found.out
        and "1 damaged" in found.out
    )
    assert call("verify", "--repair").code == 1 and call("verify").code == 0
    assert call("status").code == 4
    assert call("run", *INLINE).code == 0
    assert {file.name: file.read_bytes() for file in (copied / "tables").iterdir()} == before


def test_a_run_mends_an_edited_row_by_itself(copied: Path, call) -> None:
    before = {file.name: file.read_bytes() for file in (copied / "tables").iterdir()}
    rows = next((copied / "store" / "train").glob("*/rows.json"))
    rows.write_text(rows.read_text().replace("0.", "1.", 1))
    done = call("run", *INLINE, cwd=copied)
    assert done.code == 0 and "is damaged (rows.json" in " ".join(done.out.split())
    assert {file.name: file.read_bytes() for file in (copied / "tables").iterdir()} == before


def test_store_says_what_lies_there_and_for_whom(copied: Path, call) -> None:
    said = call("store", cwd=copied).out
    assert f"{copied / 'study.yaml'}: " in said and "No study known here asks for 0 of them" in said
    (train,) = (line.split() for line in said.splitlines() if line.split()[:1] == ["train"])
    assert train[1] == str(len(list((copied / "store" / "train").iterdir())))
    assert train[-2:] == [datetime.now().astimezone().date().isoformat(), copied.owner()]


def test_a_reader_that_goes_away_stops_nothing(fresh: Path) -> None:
    done = subprocess.run(
        f"{sys.executable} -m transferscope.cli run {' '.join(INLINE)} --set analyses=[images] | head -c 1; "
        "exit ${PIPESTATUS[0]}",
        shell=True, executable="/bin/bash", cwd=fresh, env=environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0 and (fresh / "report.html").exists(), done.stderr


def test_check_trains_nothing_and_says_it_is_ready(fresh: Path) -> None:
    done = transferscope("check", cwd=fresh)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Ready" in done.stdout and "100.0% of its parameters" in done.stdout
    assert "mean [0.485, 0.456, 0.406]" in done.stdout
    assert not list((fresh / "store").glob("[!.m]*/*"))


def test_ls_names_everything_that_a_study_may_name(call) -> None:
    said = call("ls").out
    for name in (
        "transfer",
        "images",
        "folder",
        "csv",
        "openmoji",
        "elpv",
        "digits",
        "torchvision",
        "adamw",
        "inline",
        "timm",
        "package",
        "file",
    ):
        line = next(line for line in said.splitlines() if line.split()[:1] == [name])
        assert len(line.split()) > 4, "a name without a sentence helps nobody"


@pytest.mark.parametrize("verb", VERBS)
def test_help_has_a_worked_example(verb: str, call) -> None:
    said = call(verb, "--help")
    assert said.code == 0
    assert f"Example: transferscope {verb}" in " ".join(said.out.split())


def test_version_and_no_verb(call) -> None:
    from transferscope import __version__

    assert call("--version").out.strip() == f"transferscope {__version__}"
    alone = call()
    assert all(verb in alone.out + alone.err for verb in VERBS)


def test_the_verbs_of_these_tests_are_all_there_are() -> None:
    from transferscope import cli

    assert sorted(one.name or one.callback.__name__ for one in cli.app.registered_commands) == sorted(VERBS)


def test_output_cut_short_by_a_pipe_is_no_mess(finished: Path) -> None:
    line = f"{sys.executable} -m transferscope.cli results | head -n 1"
    done = subprocess.run(["bash", "-c", line], cwd=finished, env=environment(), capture_output=True, text=True)
    assert done.stdout.count("\n") == 1 and done.stderr == ""
