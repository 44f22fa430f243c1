"""What README and docs tell a reader to type exists: verbs, options, extras, files behind links."""

import re
import shlex
import tomllib
from pathlib import Path

import pytest
import typer.main

from transferscope import cli

TOP = Path(__file__).parents[2]
PAGES = sorted([*TOP.glob("*.md"), *(TOP / "docs").rglob("*.md"), *(TOP / "examples").rglob("*.md")])
BLOCK = re.compile(r"^```[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
INDENTED = re.compile(r"(?:^(?: {4}|\t)\S.*\n?)+", re.MULTILINE)


def lines_to_type(page: Path) -> list[str]:
    """Lines of code blocks that call transferscope, prompts and comments taken off."""
    text = page.read_text(encoding="utf-8")
    code = "\n".join([*BLOCK.findall(text), *INDENTED.findall(BLOCK.sub("", text))])
    calls = (re.split(r"&&|\||;", line.strip().removeprefix("$ ").split(" #")[0]) for line in code.splitlines())
    return [one.strip() for parts in calls for one in parts if one.strip().startswith("transferscope ")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_exist(page: Path) -> None:
    verbs = typer.main.get_command(cli.app).commands  # type: ignore[attr-defined]
    for line in lines_to_type(page):
        words = shlex.split(re.split(r"[<>]", line)[0])[1:]
        assert words[0] in verbs or words[0] in ("--help", "--version"), f"{page.name}: {line}"
        if words[0] in verbs:
            known = {flag for one in verbs[words[0]].params for flag in (*one.opts, *one.secondary_opts)} | {"--help"}
            flags = {word.partition("=")[0] for word in words[1:] if word.startswith("--")}
            assert flags <= known, f"{page.name}: {line}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", BLOCK.sub("", page.read_text(encoding="utf-8"))):
        if not re.match(r"[a-z]+:|#", target):
            assert (page.parent / target.partition("#")[0]).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_extras_exist(page: Path) -> None:
    project = tomllib.loads((TOP / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = re.findall(r"(?:pip install[^\n]*?(?:transferscope|\.))\[([\w,-]+)\]", page.read_text(encoding="utf-8"))
    assert {extra for one in asked for extra in one.split(",")} <= set(project["optional-dependencies"])


def test_the_readme_has_the_two_commands() -> None:
    readme = TOP / "README.md"
    if not readme.exists():
        pytest.skip("no README.md yet")
    text = " ".join(readme.read_text(encoding="utf-8").split())
    assert "python -m pip install '.[quickstart]' && transferscope quickstart" in text
    assert "python -m pip install '.[dev]' && pytest" in text
