"""The page of a finished study: left alone while nothing changed that it is made from, made anew by whatever did."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from toy import tasks

from transferscope import battery, interim_looks, kept_page, registry
from transferscope.engine.plan import Cell, Plan
from transferscope.engine.store import Store
from transferscope.engine.table import gather
from transferscope.engine.task_context import Work
from transferscope.engine.worker import execute
from transferscope.report.results import Results, Summary
from transferscope.section import Finding, Section
from transferscope.study import Study

TEXT = "targets: {digits: digits}\nnetwork: torchvision:mobilenet_v3_small\narms: [random]\nimage_size: 32\nseeds: 5\n"
FILES = ("report.html", "results.json", "resolved.yaml", "figures/a.svg", "figures/a.pdf", "tables/transfer.csv")


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the studies whose pages were made so far in a test: small ones, of which a claim was judged."""
    found: list[str] = []

    def written(study: Study, outcomes: Any) -> Results:
        steps, store = planned(study)
        for name in FILES:
            (study.folder / name).parent.mkdir(exist_ok=True)
            (study.folder / name).write_text(f"{name} of {study.name}")
        found.append(study.name)
        table = gather(steps.cells, store)
        section = Section("Sums", findings=[Finding("They add up.", effects=(None,))], notes=["a", "b"])
        interim_looks.remember(study, store)
        return Results(steps, {"sums": table}, {"sums": section}, study.folder / "report.html", log=Path("log"))

    monkeypatch.setattr(battery, "results", written)
    monkeypatch.setattr(registry, "_foreign", set())
    return found


def planned(study: Study) -> tuple[Plan, Store]:
    """Two numbers and their sum, done."""
    store = Store(study.store_folder)
    store.prepare()
    parts = [tasks.number.step(value=value) for value in (1, 2)]
    total = tasks.total.step(parts=parts)
    for step in (*parts, total):
        execute(step.job, store, Work(store.root))
    return Plan.of([Cell("sums", {"n": 1}, total)]), store


@pytest.fixture
def page(tmp_path: Path, made: list[str]) -> Callable[..., Summary]:
    """Look at the page of that study; it was made before."""
    (tmp_path / "study.yaml").write_text(TEXT)

    def look(**changes: str) -> Summary:
        study = Study.load(tmp_path / "study.yaml", changes)
        return kept_page.summary(study, *planned(study), {})

    look()
    assert len(made) == 1
    return look


def state(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {
        path.relative_to(folder).as_posix(): (path.stat().st_mtime_ns, path.read_bytes())
        for path in folder.rglob("*")
        if path.is_file() and "store" not in path.parts
    }


def test_it_is_left_as_it_is_and_says_the_same(
    page, made: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = state(tmp_path)
    told = page()
    assert len(made) == 1 and state(tmp_path) == before
    assert told == Summary(tmp_path / "report.html", [], [], findings=1, notes=2)
    (tmp_path / "store" / "memo" / "pages.json").unlink()
    assert page() == told and len(made) == 2, "made anew it says the same"
    (tmp_path / "store" / "memo" / "looks.json").unlink()
    page()
    assert len(made) == 2 and (tmp_path / "store" / "memo" / "looks.json").exists(), "looking at verdicts counts"


def first(folder: Path, pattern: str) -> Path:
    return sorted(folder.glob(pattern))[0]


def flip(path: Path) -> None:
    """One bit, with the times of the file as they were."""
    before, data = path.stat(), bytearray(path.read_bytes())
    data[-2] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def looks(folder: Path) -> None:
    """Somebody looked at the claims with fewer seeds, which the page has to say."""
    file = folder / "store" / "memo" / "looks.json"
    file.write_text(json.dumps({question: [3, *seeds] for question, seeds in json.loads(file.read_text()).items()}))


CHANGES: dict[str, Callable[[Path], object]] = {
    "a page that is gone": lambda folder: (folder / "report.html").unlink(),
    "a page that was edited": lambda folder: (folder / "report.html").write_text("mine"),
    "a table that was edited": lambda folder: flip(folder / "tables" / "transfer.csv"),
    "a figure that is gone": lambda folder: first(folder, "figures/*.pdf").unlink(),
    "a figure with a flipped bit": lambda folder: flip(first(folder, "figures/*.svg")),
    "results.json of another study": lambda folder: (folder / "results.json").write_text("{}"),
    "a large file with a flipped bit": lambda folder: flip(first(folder, "store/number/*/value.txt")),
    "a log that was written again": lambda folder: (first(folder, "store/total/*") / "log.txt").write_text("x"),
    "a file that came to a result": lambda folder: (first(folder, "store/total/*") / "more.txt").write_text("x"),
    "a memo that is gone": lambda folder: (folder / "store" / "memo" / "pages.json").unlink(),
    "a memo of something else": lambda folder: (folder / "store" / "memo" / "pages.json").write_text("[1"),
    "an earlier look at the claims": looks,
}


@pytest.mark.parametrize("what", CHANGES)
def test_whatever_changed_makes_it_anew(page, made: list[str], tmp_path: Path, what: str) -> None:
    CHANGES[what](tmp_path)
    page()
    assert len(made) == 2


def test_other_options_other_code_and_other_libraries_make_it_anew(
    page, made: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page(name="another")
    assert len(made) == 2
    page(name="another")
    assert len(made) == 2
    installed = tmp_path / "site" / "polars-0.0.1.dist-info"
    installed.mkdir(parents=True)
    monkeypatch.syspath_prepend(tmp_path / "site")
    kept_page._code.cache_clear()
    page(name="another")
    assert len(made) == 3
    monkeypatch.setattr(kept_page, "_code", lambda: "a line of this package was edited")
    page(name="another")
    assert len(made) == 4


def test_what_cannot_be_told_whole_is_always_made(page, made: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_foreign", {"transferscope.models.networks"})
    page()
    page()
    assert len(made) == 1, "no page is made of networks"
    monkeypatch.setattr(registry, "_foreign", {"transferscope.analyses"})
    page()
    page()
    assert len(made) == 3, "nobody knows what an analysis of one's own reads"


def test_a_page_that_lacks_something_is_not_remembered(page, made: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    whole = battery.results

    def lacking(study: Study, outcomes: Any) -> Results:
        found = whole(study, outcomes)
        lost = gather([Cell("sums", {"n": 2}, tasks.number.step(value=9))], Store(study.store_folder))
        return Results(found.plan, {"sums": lost}, found.sections, found.report)

    monkeypatch.setattr(battery, "results", lacking)
    assert page(name="lacking").incomplete and page(name="lacking").incomplete
    assert made[1:] == ["lacking", "lacking"]
