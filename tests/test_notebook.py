"""A study in Python: the same results as of the command line, shown as objects and as HTML without scripts."""

import inspect
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import altair as alt
import polars as pl
import pytest
import yaml
from polars.testing import assert_frame_equal
from smoke import study as smoke
from smoke.command import environment

import transferscope as ts
from transferscope import preflight
from transferscope.errors import UserError
from transferscope.section import Finding

INLINE = {"resources.executor": "inline"}


def keys() -> dict[str, Any]:
    """Those of the smoke study, as keywords."""
    said = yaml.safe_load(smoke.text("transfer"))
    return {**said, "resources": {**said["resources"], "executor": "inline"}}


def found_in(folder: Path) -> dict[str, Any]:
    """What a study found, less the libraries that happened to be loaded when it ran in this process."""
    found = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    del found["versions"]
    return dict(found)


@pytest.fixture(scope="module")
def results(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Of a finished study, its page elsewhere."""
    return ts.Study.load(trained / "study.yaml").results(folder=tmp_path_factory.mktemp("page"))


def test_tables_are_those_of_the_command_line(trained: Path, results: Any) -> None:
    written = pl.read_csv(trained / "tables" / "transfer.csv", infer_schema_length=None)
    found = results.table("transfer")
    assert found.height > 8 and found.columns == written.columns
    assert_frame_equal(found.select("arm", "seed", "epoch"), written.select("arm", "seed", "epoch"))
    with pytest.raises(UserError, match="'transfr' is not an analysis of this study; did you mean 'transfer'"):
        results.table("transfr")


def test_findings_and_charts_are_objects(trained: Path, results: Any) -> None:
    said = json.loads((trained / "results.json").read_text(encoding="utf-8"))
    texts = [finding["text"] for one in said["analyses"] for finding in one["findings"]]
    assert [finding.text for finding in results.findings] == texts and texts
    assert all(isinstance(finding, Finding) for finding in results.findings)
    names = {
        f"{one['name']}/{chart['name'].removeprefix(one['name'] + '-')}"
        for one in said["analyses"]
        for chart in one["charts"]
    }
    assert set(results.charts) == names and names
    assert all(isinstance(chart, alt.TopLevelMixin) for chart in results.charts.values())


def test_html_says_what_was_found_and_runs_no_script(results: Any) -> None:
    part = results.section("transfer")
    shown = part._repr_html_()
    assert part.findings and all(finding.text.split(" (")[0][:30] in shown for finding in part.findings)
    assert shown.count("data:image/svg+xml") == len(part.charts) > 0 and "<table" in shown
    whole = results._repr_html_()
    assert str(results.report) in whole and str(results.report) in repr(results)
    for html in (shown, whole):
        assert "<script" not in html and "http://" not in html.replace("http://www.w3.org", "") and len(html) < 10**6
    assert "DataFrame" not in repr(results)


def test_a_study_of_keywords_gives_the_same_numbers(trained: Path, fresh: Path) -> None:
    (fresh / "study.yaml").unlink()
    study = ts.Study(folder=fresh, **keys())
    ahead = study.plan()
    assert len(ahead.missing) == ahead.table().height == len(ahead.rows) and "to do" in repr(ahead)
    assert study.check().ready
    heard: list[str] = []
    found = study.run(progress=lambda event, what: heard.append(event))
    assert heard.count("ended") == ahead.table().height and not found.incomplete
    assert found_in(fresh) == found_in(trained)
    heard.clear()
    study.run(progress=lambda event, what: heard.append(event))
    assert heard == [] and study.plan().table()["cached"].all()
    again = ts.Study.load(fresh / "resolved.yaml")
    assert again.plan().missing == [], "the file that results leave is the study"
    known = json.loads((fresh / "store" / "memo" / "studies.json").read_text(encoding="utf-8"))
    assert list(known) == ["../resolved.yaml"], "gc keeps its results"


def test_an_interrupt_saves_and_is_gone_on_from(trained: Path, fresh: Path) -> None:
    study = ts.Study.load(fresh / "study.yaml", {**INLINE, "analyses": ["transfer"]})

    def interrupt(event: str, what: Any) -> None:
        if event == "progress" and what.get("epoch"):
            os.kill(os.getpid(), signal.SIGINT)

    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        study.run(progress=interrupt)
    assert signal.getsignal(signal.SIGINT) is handler and study.plan().missing
    assert study.results().incomplete and "not computed yet" in study.results().missing[0]
    study.run(progress=False)
    assert found_in(fresh) == found_in(trained)


def test_what_is_refused_is_said(fresh: Path) -> None:
    study = ts.Study.load(
        fresh / "study.yaml",
        {**INLINE, "network": "smoke.nets:pairs", "recipe.batch_size": 7, "pretrained": None, "arms": ["random"]},
    )
    checks = study.check()
    assert not checks.ready and "images are no pairs" in repr(checks) and "Refused" in checks._repr_html_()
    with pytest.raises(UserError, match=r"The study cannot run: .*images are no pairs"):
        study.run(progress=False)
    with pytest.raises(UserError, match="unknown key 'target'; did you mean 'targets'"):
        ts.Study(target="folder:images", network="timm:resnet18")


def test_failed_steps_are_warned_of_and_missing(fresh: Path, monkeypatch: pytest.MonkeyPatch, said: list[str]) -> None:
    study = ts.Study.load(fresh / "study.yaml", {**INLINE, "analyses": ["transfer"]})
    monkeypatch.setattr(preflight, "deep", lambda *_: [])
    monkeypatch.setattr("smoke.nets.Tiny.forward", lambda self, x: 1 / 0)
    found = study.run(progress=False)
    assert found.incomplete and "division by zero" in found.missing[0] and "cells are missing" in repr(found)
    assert any("steps failed, the first of them: " in line and "division by zero" in line for line in said)


def test_help_lists_the_keys() -> None:
    named = inspect.signature(ts.Study).parameters
    assert {"targets", "network", "seeds", "analyses", "folder"} <= set(named) and "growing" not in named
    assert named["targets"].default is inspect.Parameter.empty and named["image_size"].default == 64


def test_pandas(results: Any) -> None:
    pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    frame = results.table("transfer").to_pandas()
    assert list(frame.columns) == results.table("transfer").columns and len(frame)


@pytest.mark.slow
def test_a_script_without_a_guard_runs_once(trained: Path, copied: Path) -> None:
    """The worker process that does what the study lacks does not run it again."""
    shutil.rmtree(next((copied / "store" / "train").iterdir()))
    (copied / "results.json").unlink()
    script = copied / "mine.py"
    script.write_text(
        "import transferscope as ts\nprint('begun')\n"
        "found = ts.Study.load('study.yaml', {'analyses': ['transfer']}).run(progress=False)\n"
        "print(found.incomplete)\n"
    )
    done = subprocess.run([sys.executable, script], cwd=copied, env=environment(), capture_output=True, text=True)
    assert done.stdout.split() == ["begun", "False"], done.stderr
    assert found_in(copied) == found_in(trained)
