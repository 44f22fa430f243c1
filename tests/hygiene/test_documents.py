"""What README and docs tell a reader is there: extras, files behind links, an explanation of every key."""

import importlib.util
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pages import PAGES, TOP
from pydantic import BaseModel

from transferscope import analyses
from transferscope.against import form
from transferscope.against.quantities import QUANTITIES
from transferscope.tasks import augmentations
from transferscope.tasks.recipe import Run

BLOCK = re.compile(r"^```[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)


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


@pytest.fixture(scope="module")
def build() -> Any:
    """docs/build.py as a module."""
    spec = importlib.util.spec_from_file_location("docs_build", TOP / "docs" / "build.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def models(build: Any) -> set[type[BaseModel]]:
    """Every model of a study file, with the options of every analysis and augmentation that comes with the project."""
    options = [model for name in analyses.names() for _, model in build.places(analyses.load(name).Options)]
    options += [augmentations.load(name).Options for name in augmentations.names()]
    return {*options, *(model for _, model in build.study_places())}


def below(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    for one in model.__subclasses__():
        yield one
        yield from below(one)


def test_every_key_is_explained_in_one_sentence(build: Any) -> None:
    told = {
        f"{one.__module__}.{one.__name__}.{name}": info
        for one in models(build)
        for name, info in one.model_fields.items()
    }
    assert (
        "transferscope.tasks.recipe.Recipe.epochs" in told
        and "transferscope.analyses.rewind.options.Options.redraw" in told
    )
    poor = [
        name
        for name, info in told.items()
        if not re.fullmatch(r"[A-Z`-](?!.*[.?!] [A-Z]).*\.", info.description or "", re.DOTALL)
    ]
    assert not poor, "each of these needs a sentence as the docstring beneath it"


def is_there(model: type) -> bool:
    """Whether a class is the one that its module holds now, and not of a module that another test took away."""
    outer, *inner = model.__qualname__.split(".")
    found = getattr(sys.modules.get(model.__module__), outer, None)
    for name in inner:
        found = getattr(found, name, None)
    return found is model or ("<locals>" in inner and model.__module__ in sys.modules)


def test_no_model_of_the_project_is_left_out(build: Any) -> None:
    build.pages()  # loads every analysis
    ours = {one for one in below(BaseModel) if one.__module__.startswith("transferscope.") and is_there(one)}
    ours -= {one for one in ours if one.__module__.startswith("transferscope.against")}  # see the test below
    adding = {one for one in ours if set(one.model_fields) > set(getattr(one.__base__, "model_fields", {}))}
    above = {parent for one in models(build) for parent in one.__mro__}  # whose keys stand in every table of theirs
    assert adding - {Run} <= above, "Run adds what steps say of a training, which nobody writes"


def test_every_key_of_a_file_of_published_numbers_has_its_line() -> None:
    text = (TOP / "docs" / "reproducing.md").read_text(encoding="utf-8")
    for model in (form.Published, form.Setting, form.Group, form.Value):
        for name, info in model.model_fields.items():
            assert info.description and f"| `{name}` |" in text, f"{model.__name__}.{name}"
    for name, quantity in QUANTITIES.items():
        assert f"| `{name}` | {quantity.says} | `{quantity.analysis}` |" in text


def test_the_pages_are_those_that_build_writes(build: Any) -> None:
    pages = build.pages()
    stale = [file.name for file, text in pages.items() if not file.exists() or file.read_text(encoding="utf-8") != text]
    assert not stale, "run: python docs/build.py"
    assert set((TOP / "docs" / "analyses").glob("*.md")) < set(pages), "a page of an analysis that is no more"


def test_every_part_of_a_study_file_has_its_table(build: Any) -> None:
    text = (TOP / "docs" / "study-file.md").read_text(encoding="utf-8")
    assert {name for _, name, _ in build.REGION.findall(text)} == {build.marker(*one) for one in build.study_places()}
    for name in augmentations.names():
        assert f"\n| **`{name}`** |" in text
    for key in ("targets.NAME.columns.group", "recipe.lr", "resources.executor", "analyses.NAME.type"):
        assert f"\n| `{key}` |" in text


def test_the_readme_has_the_two_commands() -> None:
    readme = TOP / "README.md"
    if not readme.exists():
        pytest.skip("no README.md yet")
    text = " ".join(readme.read_text(encoding="utf-8").split())
    assert "python -m pip install '.[quickstart]' && transferscope quickstart" in text
    assert "python -m pip install '.[dev]' && pytest" in text


def test_the_citation_is_of_this_version_and_the_types_are_published() -> None:
    said = yaml.safe_load((TOP / "CITATION.cff").read_text(encoding="utf-8"))
    project = tomllib.loads((TOP / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert (said["version"], said["license"]) == (project["version"], project["license"])
    assert (Path(analyses.__file__).parents[1] / "py.typed").exists()


def test_contributing_names_places_that_are_there() -> None:
    """Every path in its tables and sentences, below `src/transferscope`, the project or the tests."""
    text = (TOP / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = {name for name in re.findall(r"`([\w./]+/[\w./]*|[\w/]+\.py)`", text) if "NAME" not in name}
    assert len(named) > 20
    code = TOP / "src" / "transferscope"
    places = (code, code / "probes", code.parent, TOP, TOP / "tests", TOP / "tests" / "support" / "newcomers")
    assert sorted(name for name in named if not any((place / name).exists() for place in places)) == []
