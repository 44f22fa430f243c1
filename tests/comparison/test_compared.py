"""Two small studies run for good and held side by side: the page, its JSON, refusals, the same bytes."""

import json
import re
from pathlib import Path

import browser
import pytest
from smoke import command, study

import transferscope as ts


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the finished studies `plain` and `slower`, which differ in their rate."""
    root = tmp_path_factory.mktemp("two")
    text = study.text("transfer").replace("slots: 2", "slots: 1, executor: inline")
    study.write(root / "plain")
    study.inputs(root / "plain", root / "slower")
    (root / "plain" / "study.yaml").write_text(text.replace("name: smoke", "name: plain"))
    (root / "slower" / "study.yaml").write_text(
        text.replace("name: smoke", "name: slower").replace("lr: 0.05", "lr: 0.005")
    )
    for name in ("plain", "slower"):
        done = command.here(root, "run", f"{name}/study.yaml", "--quiet")
        assert done.code == 0, done.out + done.err
    return root


@pytest.mark.slow
def test_the_page_is_made_and_made_again_with_the_same_bytes(two: Path, tmp_path: Path) -> None:
    for place in ("one", "two"):
        done = command.transferscope("compare", "plain", "slower", "--out", tmp_path / place / "page.html", cwd=two)
        assert done.returncode == 0, done.stdout + done.stderr
    first, second = (tmp_path / place for place in ("one", "two"))
    for file in sorted(path.relative_to(first) for path in first.rglob("*") if path.is_file()):
        assert (first / file).read_bytes() == (second / file).read_bytes(), file
    html = (first / "page.html").read_text(encoding="utf-8")
    assert "recipe.lr" in html and "paired by seed and by test example" in html
    asked = re.findall(r'(?:src|href)="([^"#]+)"', re.sub(r"<script.*?</script>", "", html, flags=re.DOTALL))
    assert asked and all(one.startswith("data:") or (first / one).is_file() for one in asked), "whole by itself"
    said = json.loads((first / "page.json").read_text(encoding="utf-8"))
    assert [one["key"] for one in said["settings"]] == ["recipe.lr"]
    gain = next(one for one in said["numbers"] if one["name"] == "gain")
    (apart,) = gain["differences"]
    a, b = (one["effect"] for one in gain["values"])
    assert apart["effect"] == pytest.approx(b - a) and apart["images"] == 24 and apart["shown"] is None


@pytest.mark.slow
@pytest.mark.skipif(browser.CHROMIUM is None, reason="needs chromium on the PATH")
def test_long_names_fit_on_a_phone(two: Path, tmp_path: Path) -> None:
    done = command.transferscope("compare", "plain", "slower", "--out", tmp_path / "page.html", cwd=two)
    assert done.returncode == 0, done.stderr
    page, name = tmp_path / "page.html", "slower_and_with_a_name_that_no_line_of_a_phone_can_hold"
    page.write_text(re.sub(r"\bslower\b(?=[^<>]*<)", name, page.read_text(encoding="utf-8")), encoding="utf-8")
    assert name in page.read_text(encoding="utf-8") and browser.width(page) == 390


@pytest.mark.slow
def test_in_python_and_what_is_refused(two: Path, tmp_path: Path) -> None:
    found = ts.compare([two / "plain", ts.Study.load(two / "slower" / "study.yaml")])
    assert {"plain", "slower"} < set(found.table().columns) and found.settings()["key"].to_list() == ["recipe.lr"]
    assert "<svg" not in found._repr_html_() and "data:image/svg+xml" in found._repr_html_()
    (tmp_path / "study.yaml").write_text((two / "plain" / "study.yaml").read_text())
    for given, words in (
        ([two / "plain", two / "plain"], "one study"),
        ([two / "plain"], "two studies or more"),
        ([two / "plain", tmp_path / "none"], "no study file"),
        ([two / "plain", two], "holds no study.yaml"),
    ):
        with pytest.raises(Exception, match=words):
            ts.compare(given)
    study.inputs(two / "plain", tmp_path / "fresh")
    with pytest.raises(Exception, match="nothing of this study has been computed yet"):
        ts.compare([two / "plain", tmp_path / "fresh"])
    newer = {"format": 2}
    (tmp_path / "fresh" / "results.json").write_text(json.dumps(newer))
    with pytest.raises(Exception, match="update transferscope"):
        ts.compare([two / "plain", tmp_path / "fresh"])
