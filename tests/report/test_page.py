"""The page says everything, loads nothing, and obeys no text that came from outside."""

import dataclasses
import html
import html.parser
import io
import json
import math
import os
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image
from sample_study import HOSTILE, empty_part, provenance, transfer_part, write

from transferscope import chart_process, spreadsheet
from transferscope.analyses import names
from transferscope.data.sheets import sheet
from transferscope.report import PagePart, figures, wording, write_report
from transferscope.report import page as page_module
from transferscope.report.claims import JUDGES, joined
from transferscope.report.claims import claims as claims_of
from transferscope.report.failures import Mishaps
from transferscope.section import CLAIMS, Card, Chart, Finding, Picture, Section, View


class Elements(html.parser.HTMLParser):
    """Every element with its attributes, the text of scripts, and the visible text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data: str) -> None:
        if self.cdata_elem == "script":
            self.scripts[-1] += data
        elif self.cdata_elem is None:
            self.text += data


@pytest.fixture(scope="module")
def elements(report: Path) -> Elements:
    return Elements(report.read_text(encoding="utf-8"))


def one_section(folder: Path, section: Section, table: pl.DataFrame | None = None) -> str:
    part = PagePart("one", "What it is.", section, pl.DataFrame() if table is None else table)
    write_report(folder, title="t", question="", parts=[part], provenance=provenance())
    return (folder / "report.html").read_text(encoding="utf-8")


def test_hostile_text_is_shown_and_never_becomes_an_element(elements: Elements) -> None:
    scripts = [attributes for tag, attributes in elements.found if tag == "script"]
    assert [s.get("type") for s in scripts] == ["application/json"] * 5 + [None, None]
    assert not any(name.startswith("on") for _, attributes in elements.found for name in attributes)
    # finding, card (headline and target), chart title, missing cell, study, step label
    assert elements.text.count(HOSTILE) >= 7
    assert "<img src=x onerror=alert(2)>" in elements.text


def test_chart_json_is_intact_and_holds_no_markup(elements: Elements) -> None:
    charts = elements.scripts[:5]
    assert not any("<" in text or ">" in text or "&" in text for text in charts)
    facets = json.loads(charts[3])
    (table,) = facets["datasets"].values()
    words = table["texts"]["target"]
    targets = {words[row[table["columns"].index("target")]] for row in table["rows"]}
    assert targets == {"openmoji:color", HOSTILE}


def test_hostile_table_cells_and_names_are_escaped(tmp_path: Path) -> None:
    rows = pl.DataFrame({f"class {HOSTILE}": [HOSTILE], "n": [3]})
    text = one_section(tmp_path, Section(HOSTILE, tables=(View("v", HOSTILE, rows, HOSTILE),), notes=(HOSTILE,)))
    assert "alert(1)" in text
    assert "<script>alert" not in text


def test_the_script_library_is_embedded_once(report: Path) -> None:
    text = report.read_text(encoding="utf-8")
    assert text.count("window.vegaEmbed=") == 1
    assert text.count('<script id="library"') == 1


def test_nothing_is_loaded_from_anywhere(elements: Elements) -> None:
    for tag, attributes in elements.found:
        for name in ("src", "srcset", "data", "poster", "action", "background"):
            assert attributes.get(name, "data:").startswith("data:"), (tag, name)
        assert tag == "a" or attributes.get("href", "data:").startswith("data:")
    policy = next(a["content"] for tag, a in elements.found if tag == "meta" and "http-equiv" in a) or ""
    assert "default-src 'none'" in policy
    assert "http" not in policy
    assert "url(" not in (Path(page_module.__file__).parent / "style.css").read_text()


def test_the_answers_come_first_and_findings_are_folded(report: Path) -> None:
    text = report.read_text(encoding="utf-8")
    screen, folded = text[text.index("<main>") :].split('<details class="fold"', 1)
    said = " ".join(Elements(screen).text.split())
    assert (
        "Yes Pretraining helped: the final test accuracy is 82% with it and 66% from scratch, a difference of "
        "16 points (95% interval 11 to 20); likely: the interval lies above 0, but 3 seeds are few." in said
    )
    assert "Pretraining raised the final test accuracy" not in said, "findings stand in their sections"
    assert re.search(r"\b(P-T|RI-T)\b", said) is None, "letters stand in sections only"
    shown = " ".join(Elements(folded).text.split())
    assert shown.index("Only 3 seeds") < shown.index("Pretraining raised the final test accuracy by 15.8 points.")
    assert "15.8 points · 95% interval 11.2 to 20.4 points · 3 seeds" in shown
    for words in ("Supports claim 1", "Leaves claim 2 open", "Contradicts claim 3"):
        assert words in shown


def test_questions_keep_their_order_and_say_what_would_answer_them(elements: Elements) -> None:
    text = " ".join(elements.text.split())
    asked = ["Was it features?", "Can a part stay frozen?", "Does averaging", "trained longer?", "save labels?"]
    places = [text.index(words) for words in asked]
    assert places == sorted(places)
    assert "Not asked. This would answer it: analyses: [average]" in text
    assert "Not answered yet: the analysis transfer has no result for it." in text
    assert "To be surer: more seeds than 3 would narrow what is unsure (Freeze)." in text
    assert "net was trained from some weights and from scratch at 64 px, with 3 seeds" in text
    assert "emoji (900 images to train on, 100 to test on, 9 classes)." in text
    assert "emoji: 50 further images are for choosing epochs and rates." in text
    assert "Classes of fewer than 10 train images: 'flags' has 3." in text


def test_missing_cells_are_named_with_their_reason(elements: Elements) -> None:
    text = " ".join(elements.text.split())
    assert "7 cells are missing." in text
    assert "target openmoji:color, arm random, seed 3 : the loss became NaN" in text.replace("3:", "3 :")
    assert "arm pretrained, seed 2: not run yet" in text


def test_while_it_runs_cells_are_still_to_come(tmp_path: Path) -> None:
    how = {"title": "t", "question": "q", "parts": [empty_part()], "provenance": provenance()}
    page = write_report(tmp_path, **how, running=True)
    assert "Still running: 6 cells are to come." in page.read_text(encoding="utf-8")


def test_provenance_is_complete(elements: Elements) -> None:
    text = " ".join(elements.text.split())
    for words in ("torch 2.5.1", "2 cores", "00ab34cd56ef", "arms: [random, pretrained]", "1 June 2025"):
        assert words in text


def test_every_link_and_label_has_its_anchor(elements: Elements) -> None:
    anchors = [attributes["id"] for _, attributes in elements.found if "id" in attributes]
    assert len(anchors) == len(set(anchors))
    for _, attributes in elements.found:
        for name in ("href", "aria-labelledby"):
            target = attributes.get(name) or ""
            if target.startswith("#") or (name == "aria-labelledby" and target):
                assert target.lstrip("#") in anchors
    assert all(attributes.get("alt") for tag, attributes in elements.found if tag == "img")


def test_empty_everything_still_gives_a_page(tmp_path: Path) -> None:
    page = write_report(
        tmp_path, title="", question="", parts=[], provenance=dataclasses.replace(provenance(), steps=())
    )
    said = page.read_text(encoding="utf-8")
    assert "This study does not ask whether pretraining helped." in said and "analyses: [average]" in said
    assert "No rows yet." in one_section(tmp_path / "a", empty_part().section)


def test_what_a_killed_run_left_beside_the_page_is_removed_in_time(tmp_path: Path) -> None:
    names = [f".report.html.{32 * 'a'}", f"figures/.one-final.svg.{32 * 'b'}", f"images/.mine.png.{32 * 'c'}", ".mine"]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("half")
        os.utime(tmp_path / name, (0, 0))
    (tmp_path / f".results.json.{32 * 'd'}").write_text("of a run under way")
    write_report(tmp_path, title="", question="", parts=[], provenance=provenance())
    left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob(".*")}
    assert left == {*names[2:], f".results.json.{32 * 'd'}"}, "what is not ours stays, and what is new"


def test_a_chart_that_cannot_be_drawn_costs_only_itself(tmp_path: Path) -> None:
    good = transfer_part().section.charts[1]
    broken = Chart("broken", "Broken", {"$schema": "https://vega.github.io/schema/vega-lite/v6.json", "mark": 3})
    text = one_section(tmp_path, Section("s", charts=(broken, good)))
    assert text.count("The chart &#39;Broken&#39; of &#39;one&#39; could not be written: ") == 1
    assert "1 part of this page could not be written." in " ".join(Elements(text).text.split())
    assert [path.name for path in (tmp_path / "figures").glob("*.svg")] == ["one-final.svg"]
    summary = json.loads((tmp_path / "results.json").read_text())
    assert [chart["name"] for chart in summary["analyses"][0]["charts"]] == ["one-final"]
    assert len(summary["analyses"][0]["problems"]) == 1


def test_a_long_table_is_cut_on_the_page_only(tmp_path: Path) -> None:
    rows = pl.DataFrame({"n": range(1000)})
    text = one_section(tmp_path, Section("s", tables=(View("v", "v", rows),)), rows)
    assert "800 more rows" in text
    assert (tmp_path / "tables" / "one.csv").read_text().count("\n") == 1001


def test_results_json_holds_every_finding(report: Path) -> None:
    summary = json.loads((report.parent / "results.json").read_text(encoding="utf-8"))
    assert summary["versions"] == {"transferscope": "0.1.0", "torch": "2.5.1"}
    first = summary["analyses"][0]
    assert tuple(Finding(**finding) for finding in first["findings"]) == transfer_part().section.findings
    assert tuple(Card(**card) for card in first["cards"]) == transfer_part().section.cards
    reason = f"the loss became NaN in {HOSTILE}"
    assert first["missing"] == [{"labels": {"target": "openmoji:color", "arm": "random", "seed": 3}, "reason": reason}]
    assert pl.read_csv(report.parent / first["table"]).height == first["rows"] == 186
    for chart in first["charts"]:
        assert (report.parent / "figures" / f"{chart['name']}.svg").exists()


def test_numbers_that_are_not_finite_become_null(tmp_path: Path) -> None:
    finding = Finding("None.", math.nan, -math.inf, math.inf, 2)
    text = one_section(tmp_path, Section("s", (finding,)), pl.DataFrame({"list": [[1, 2]], "x": [math.nan]}))
    assert not re.search(r"\b(nan|inf)\b", text.partition("<body>")[2].partition("<script")[0])
    written = json.loads((tmp_path / "results.json").read_text(), parse_constant=pytest.fail)["analyses"][0][
        "findings"
    ][0]
    assert (written["effect"], written["low"], written["high"]) == (None, None, None)
    assert (tmp_path / "tables" / "one.csv").read_text() == 'list,x\n"[1, 2]",NaN\n'


def test_cells_that_a_spreadsheet_would_compute_are_kept_from_it(tmp_path: Path) -> None:
    once = ["=1+1", "+1 more", "-cat", "@home", "\tx", "'=x"]
    texts = [*once, "-1.5e3", "plain", "", None, "it's"]
    rows = pl.DataFrame({"=class": texts, "n": [-float(n) for n in range(11)], "of": [["=a"]] * 11})
    written = wording.csv(rows)
    read = pl.read_csv(io.BytesIO(written), infer_schema=False)
    assert read["'=class"].to_list()[:8] == [*(f"'{text}" for text in once), "-1.5e3", "plain"]
    assert read["n"].to_list()[1] == "-1.0", "numbers compute nothing"
    (file := tmp_path / "t.csv").write_bytes(written)
    assert sheet.read(file).cells["=class"] == [text or "" for text in texts]
    assert all(spreadsheet.plain(spreadsheet.safe(text)) == text for text in texts if text is not None)


def test_data_files_do_not_tell_of_the_machine(tmp_path: Path) -> None:
    other = dataclasses.replace(provenance(), machine={"processor": "another"}, seconds=1.0, steps=(), created="later")
    for folder, origin in (("here", provenance()), ("there", other)):
        write_report(tmp_path / folder, title="t", question="q", parts=[transfer_part()], provenance=origin)
    for name in ("results.json", "tables/transfer.csv", "figures/transfer-curves.svg"):
        assert (tmp_path / "here" / name).read_bytes() == (tmp_path / "there" / name).read_bytes()


def test_writing_again_changes_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def files() -> dict[Path, tuple[int, int, bytes]]:
        found = [path for path in tmp_path.rglob("*") if path.is_file()]
        return {path: (path.stat().st_mtime_ns, path.stat().st_ino, path.read_bytes()) for path in found}

    write(tmp_path)
    before = files()
    monkeypatch.setattr(chart_process.Drawer, "ask", None)
    write(tmp_path)
    assert files() == before


def test_a_reader_without_scripts_is_led_to_the_figures(report: Path) -> None:
    text = report.read_text(encoding="utf-8")
    stills = re.findall(r'<noscript><p>[^<]*<a href="([^"]+)">', text)
    assert len(stills) == 5 and all((report.parent / still).exists() for still in stills)
    assert "data:image/svg+xml" not in text, "the files hold them"


def test_every_file_that_is_linked_is_there(report: Path, elements: Elements) -> None:
    hrefs = [a["href"] or "" for tag, a in elements.found if tag == "a"]
    linked = [href for href in hrefs if not href.startswith(("#", "https:"))]  # the guide may lead elsewhere
    assert {name.partition("/")[0] for name in linked} == {"figures", "tables"}
    assert all((report.parent / name).exists() for name in linked)


class Broken:
    """A table, a picture or a name that cannot be read."""

    def __getattr__(self, name: str) -> object:
        raise RuntimeError(f"nobody knows its {name}")


@pytest.mark.parametrize(
    "section",
    [
        Section("s", tables=(View("v", "Bad", Broken()), View("w", "Good", pl.DataFrame({"n": [12345]})))),
        Section("s", pictures=(Picture("p", "Bad", Broken()),), notes=("12,345",)),
        Section("s", findings=(Broken(),)),
        Section("s", findings=({"text": "no finding"},)),
        Section("s", charts=(Chart("c", "Bad", Broken()),), notes=("12,345",)),
    ],
    ids=["table", "picture", "finding", "no finding", "chart"],
)
def test_what_cannot_be_written_costs_its_place_and_nothing_else(tmp_path: Path, section: Section) -> None:
    rows = pl.DataFrame({"n": [12345]})
    parts = [PagePart("bad", "What it is.", section, rows), transfer_part()]
    log = tmp_path / "failures" / "report.txt"
    found = Mishaps(log)
    write_report(tmp_path, title="t", question="", parts=parts, provenance=provenance(), mishaps=found)
    assert len(found.said) == 1 and found.said[0].startswith("The ") and "could not be written: " in found.said[0]
    text = html.unescape((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert found.said[0] in text and "12,345" in text, "the sentence stands there, and so does the rest"
    assert "Pretraining raised the final test accuracy by 15.8 points." in text
    summary = json.loads((tmp_path / "results.json").read_text())
    assert summary["analyses"][0]["problems"] == found.said and summary["analyses"][1]["problems"] == []
    assert (tmp_path / "tables" / "bad.csv").read_text() == "n\n12345\n"
    assert "Traceback" in log.read_text() and "Traceback" not in text
    Mishaps(log)
    assert not log.exists(), "a log tells of the last report only"


def test_the_basis_stands_under_the_findings(tmp_path: Path) -> None:
    text = one_section(tmp_path, Section("s", findings=(Finding("It is so."),), basis="On all test images."))
    assert text.count("On all test images.") == 1
    assert json.loads((tmp_path / "results.json").read_text())["analyses"][0]["basis"] == "On all test images."


def test_findings_on_a_claim_are_joined_in_one_line(elements: Elements) -> None:
    text = " ".join(elements.text.split())
    claims = text[text.index("The paper’s claims, on this data") :]
    assert "3 of 10 judged" in claims
    assert "Not judged; this would: analyses: [mistakes]" in claims
    assert joined(["supports", "contradicts", "open"]) == "contradicts"
    assert joined(["supports", "open"]) == "open" and joined(["supports", "supports"]) == "supports"
    assert joined([]) == "open"
    (line,) = (one for one in claims_of([judged("supports"), judged("open")]) if one["verdict"])
    assert (line["number"], line["verdict"], len(line["findings"])) == (1, "open", 2)
    assert line["findings"][0]["verdict"] == "open", "what decides it comes first"
    assert line["needs"] == "About 7 seeds would decide it, were effect and scatter what they seem."
    assert claims_of([judged("supports")])[0]["needs"] == ""
    several = claims_of([judged("open", (1, 3))])[0]["needs"]
    assert several.startswith("Of its 3 comparisons 1 is shown. About 7 seeds")
    assert set(JUDGES) == set(CLAIMS) and {name for names in JUDGES.values() for name in names} <= set(names())


def judged(verdict: str, shown: tuple[int, int] | None = None) -> dict[str, object]:
    needed = 7 if verdict == "open" else None
    finding = {"verdict": verdict, "claim": 1, "interval": "", "needed": needed, "shown": shown}
    return {"id": verdict, "title": verdict, "kind": "transfer", "findings": [finding]}


def test_a_picture_on_the_page_is_small_and_the_whole_one_lies_beside_it(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (80, 80, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, "PNG")
    kind, shown = figures.embedded_picture(file.getvalue())
    assert kind == "webp" and len(shown) < len(file.getvalue()) / 2
    assert Image.open(io.BytesIO(shown)).size == (80, 80)
