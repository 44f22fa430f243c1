"""The site: it builds with every warning an error, and leads to every page, analysis and public name."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from pages import TOP
from smoke.command import environment

import transferscope as ts
from transferscope.probes.result import HOMES

DOCS = TOP / "docs"


def test_the_api_page_holds_every_public_name_and_every_result() -> None:
    text = (DOCS / "api.rst").read_text(encoding="utf-8")
    told = re.findall(r"\.\. auto\w+:: (?:transferscope\.)([\w.]+)", text)
    assert sorted(set(ts.__all__) - set(told)) == ["__version__"]
    assert {f"probes.{room}.{name}" for name, room in HOMES.items()} <= set(told)


def test_every_page_has_its_place_in_the_navigation() -> None:
    text = (DOCS / "index.rst").read_text(encoding="utf-8")
    listed = re.findall(r"^   ([\w-]+)$", text, re.MULTILINE)
    assert len(listed) == len(set(listed))
    assert {file.stem for file in (*DOCS.glob("*.md"), *DOCS.glob("*.rst"))} == {*listed, "index"}


@pytest.mark.slow
@pytest.mark.timeout(500)
def test_the_site_builds(tmp_path: Path) -> None:
    """About 10 seconds of processor time; a link, an anchor or a name that leads nowhere is an error."""
    pytest.importorskip("myst_parser")
    pytest.importorskip("furo")
    line = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", DOCS, tmp_path / "site"]
    done = subprocess.run(
        [*line, "-d", tmp_path / "read"], capture_output=True, text=True, env=environment(), cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "site" / "api.html").read_text(encoding="utf-8")
    assert 'id="transferscope.similarity"' in page and "minibatch CKA" in page
    assert (tmp_path / "site" / "analyses" / "barrier.html").exists()


@pytest.mark.slow
def test_a_broken_link_is_noticed(tmp_path: Path) -> None:
    """Of the same settings, on a page of its own."""
    pytest.importorskip("myst_parser")
    pytest.importorskip("furo")
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "conf.py").write_text((DOCS / "conf.py").read_text(encoding="utf-8"), encoding="utf-8")
    said = "# A page\n\n[there](#a-page), [nowhere](nowhere.md), [no heading](#nothing)\n"
    (tmp_path / "docs" / "index.md").write_text(said, encoding="utf-8")
    line = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", tmp_path / "docs", tmp_path / "site"]
    done = subprocess.run(line, capture_output=True, text=True, env=environment(), cwd=tmp_path)
    assert done.returncode != 0 and "nowhere.md" in done.stderr and "nothing" in done.stderr
    assert "a-page" not in done.stderr
