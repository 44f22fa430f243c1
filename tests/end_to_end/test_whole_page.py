"""No analysis takes the page down: what raises becomes a sentence there, a note on the console and an exit code."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from transferscope import analyses


class Panic(BaseException):
    """What a panic in a compiled library raises, which is no Exception."""


def raises(error: BaseException):
    def section(table: object, options: object) -> None:
        raise error

    return section


SECTIONS = {
    "an error": (
        raises(ValueError("column 'kappa' has no value\nand more")),
        "ValueError: column 'kappa' has no value;",
    ),
    "a panic": (raises(Panic("index out of bounds")), "Panic: index out of bounds;"),
    "a lost file": (raises(FileNotFoundError(2, "No such file", "strips.json")), "FileNotFoundError: "),
    "no section": (lambda table, options: None, "its section() gave NoneType, not a Section;"),
}


@pytest.mark.parametrize("kind", SECTIONS)
def test_a_section_that_raises_costs_only_itself(
    copied: Path, call, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    section, words = SECTIONS[kind]
    real = analyses.load("transfer")
    broken = SimpleNamespace(
        __doc__="It breaks.\n\nHow to read it.", TITLE="Broken", Options=real.Options, plan=real.plan, section=section
    )
    load = analyses.load
    monkeypatch.setattr(analyses, "load", lambda name: broken if name == "transfer" else load(name))
    (copied / "study.yaml").write_text(
        (copied / "study.yaml").read_text().replace('{"transfer": {}}', '{"images": {}, "transfer": {}}')
    )
    for verb in ("report", "run"):
        said = call(verb, cwd=copied)
        assert said.code == 1, said.out + said.err
        (line,) = (line for line in said.out.splitlines() if "could not be written" in line)
        assert line.startswith("note: The section 'transfer' could not be written: ") and words in line
        assert line.endswith("its table stands below.") and "Traceback" not in said.out + said.err
    page = (copied / "report.html").read_text(encoding="utf-8")
    assert "its table stands below." in page and "Images of shapes" in page
    found = json.loads((copied / "results.json").read_text(encoding="utf-8"))["analyses"]
    assert [one["name"] for one in found] == ["images", "transfer"] and len(found[1]["problems"]) == 1
    assert (copied / "tables" / "transfer.csv").read_text().count("\n") == 1 + found[1]["rows"] > 1
    assert "Traceback" in (copied / "store" / "failures" / "report.txt").read_text()


def test_a_damaged_result_is_missing_and_named(copied: Path, call) -> None:
    rows = next((copied / "store" / "train").glob("*/rows.json"))
    rows.write_text(rows.read_text()[:-40])
    said = call("report", cwd=copied)
    assert said.code == 4 and "Traceback" not in said.out + said.err
    found = json.loads((copied / "results.json").read_text(encoding="utf-8"))["analyses"]
    (lost,) = (cell for one in found for cell in one["missing"])
    assert f"The result train {rows.parent.name} is damaged (rows.json" in lost["reason"]


def test_rows_that_contradict_each_other_cost_their_analysis_only(copied: Path, call) -> None:
    """A record among numbers: whichever library refuses it, and be it by a panic."""
    files = sorted((copied / "store" / "train").glob("*/rows.json"))
    files[0].write_text(files[0].read_text().replace('"epoch": 1', '"epoch": {"number": 1}'))
    said = json.loads((files[0].parent / "step.json").read_text())  # of before there were digests
    said = {name: value for name, value in said.items() if name not in ("files", "digest")}
    (files[0].parent / "step.json").write_text(json.dumps(said))
    said = call("report", cwd=copied)
    assert said.code == 1 and "'transfer' could not be written: " in said.out
    assert "could not be written" in (copied / "report.html").read_text(encoding="utf-8")
