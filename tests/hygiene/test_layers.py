"""Who may import whom: a room may import rooms of lower levels only, and rooms of one level not each other."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import transferscope

ROOT = Path(transferscope.__file__).parent

LEVELS: tuple[frozenset[str], ...] = (
    frozenset(
        {
            "errors",
            "input_nouns",
            "random_streams",
            "spawning",
            "section",
            "input_shape",
            "progress",
            "spreadsheet",
            "strict_models",
            "version",
            "atomic_files",
        }
    ),  # leaves
    frozenset({"trust", "answers", "devices", "chart_process", "extras"}),
    frozenset({"charts", "registry", "memo"}),
    frozenset({"engine", "data", "models", "measures", "fetch"}),  # know nothing of each other
    frozenset({"probes"}),
    frozenset({"tasks"}),
    frozenset({"timing"}),
    frozenset({"study"}),
    frozenset({"analyses"}),
    frozenset({"against", "report", "forecast", "run_status", "interim_looks", "store_users"}),
    frozenset({"battery", "exports", "json_schema", "rehearsal", "retention"}),
    frozenset({"preflight", "adding_seeds", "step_overview", "kept_page"}),
    frozenset({"rounds", "comparison"}),
    frozenset({"console", "propose", "serving"}),
    frozenset({"cli", "notebook"}),
    frozenset({"__main__"}),
)
LONG = 270  # lines of a file that no reader wants to see more of
NEVER = {("probes", "engine"): "a probe is for notebooks too, where there are no steps"}
# (file, room it imports) -> why that is right all the same
EXCEPTIONS: dict[tuple[str, str], str] = {}

LEVEL = {room: number for number, rooms in enumerate(LEVELS) for room in rooms}


@pytest.fixture(scope="module", autouse=True)
def _let_go() -> Iterator[None]:
    """Trees of all files take 110 MB."""
    yield
    parsed.cache_clear()


@cache  # parsing 500 files takes seconds, and six tests ask for them
def parsed(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


@cache
def named(file: Path) -> frozenset[str]:
    """Every module of ours that a file imports, anywhere in it: inside functions and for the type checker too."""
    found: set[str] = set()
    for node in ast.walk(parsed(file)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file.relative_to(ROOT)}: write the import in full"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                found.add(inner if _file(inner) is not None else str(node.module))
    return frozenset(found)


@cache
def _file(module: str) -> Path | None:
    """The file of a module of ours."""
    parts = module.split(".")
    if parts[0] != "transferscope":
        return None
    place = ROOT.joinpath(*parts[1:])
    for file in (place.with_suffix(".py"), place / "__init__.py"):
        if file.is_file():
            return file
    return None


def imports() -> set[tuple[str, str, str]]:
    """(file, its room, room it imports) for every import."""
    found = set()
    for file in ROOT.rglob("*.py"):
        inside = file.relative_to(ROOT)
        for name in named(file):
            parts = name.split(".")
            if parts[0] == "transferscope" and len(parts) > 1:
                found.add((inside.as_posix(), inside.parts[0].removesuffix(".py"), parts[1]))
    return found


def test_imports_go_down() -> None:
    wrong = []
    for file, room, other in sorted(imports()):
        if room == other or room == "__init__" or (file, other) in EXCEPTIONS:
            continue
        for name in (room, other):
            assert name in LEVEL, f"{file} and {other}: give '{name}' its place in LEVELS"
        if LEVEL[other] >= LEVEL[room] or (room, other) in NEVER:
            wrong.append(f"{file} imports {other}")
    assert wrong == []


def test_the_walk_sees_the_imports_there_are() -> None:
    """It would be a poor guard that found nothing to look at."""
    rooms = {(room, other) for _, room, other in imports()}
    assert {
        ("cli", "battery"),
        ("console", "study"),
        ("tasks", "engine"),
        ("study", "tasks"),
        ("battery", "report"),
    } <= rooms
    assert ("data", "models") not in rooms


def test_exceptions_are_still_needed() -> None:
    assert set(EXCEPTIONS) <= {(file, other) for file, _, other in imports()}


def test_no_files_import_each_other_in_a_circle() -> None:
    """Of the whole package; what only the type checker imports counts too."""
    below = {file: {to for name in named(file) if (to := _file(name)) is not None} for file in ROOT.rglob("*.py")}
    while leaves := [file for file, others in below.items() if not others & below.keys()]:
        for file in leaves:
            del below[file]
    assert sorted(file.relative_to(ROOT).as_posix() for file in below) == []


def test_every_file_opens_with_a_sentence() -> None:
    for file in ROOT.rglob("*.py"):
        first = (ast.get_docstring(parsed(file)) or "").partition("\n")[0]
        assert len(first) > 15, f"{file.relative_to(ROOT)} does not say what it is"


def test_only_shape_and_data_say_what_an_image_is_like() -> None:
    """Elsewhere no batch is made up with three channels in it, and no bytes of a picture are counted by hand."""
    makers = {"zeros", "ones", "empty", "rand", "randn", "full"}
    found = []
    for file in sorted(ROOT.rglob("*.py")):
        inside = file.relative_to(ROOT)
        for node in ast.walk(parsed(file)) if inside.parts[0] != "data" else ():
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in makers):
                continue
            sizes = [ast.unparse(part) for arg in node.args for part in getattr(arg, "elts", [arg])]
            if sizes[1:2] == ["3"] and len(sizes) == 4:
                found.append(f"{inside}:{node.lineno}")
        if inside.parts[0] != "data" and "3 * side" in file.read_text(encoding="utf-8"):
            found.append(str(inside))
    assert found == []


def test_a_long_file_says_why() -> None:
    for file in ROOT.rglob("*.py"):
        text = file.read_text(encoding="utf-8")
        assert "fmt: skip" not in text, file
        if text.count("\n") > LONG:
            reason = ast.get_docstring(ast.parse(text)) or ""
            assert "long because" in reason, f"{file.relative_to(ROOT)} has {text.count(chr(10))} lines"
