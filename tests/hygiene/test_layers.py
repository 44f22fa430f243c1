"""Who may import whom: a room may import rooms of lower levels only, and rooms of one level not each other."""

import ast
from collections.abc import Iterator
from pathlib import Path

import transferscope

ROOT = Path(transferscope.__file__).parent

LEVELS: tuple[frozenset[str], ...] = (
    frozenset({"errors", "streams", "section", "chart_style"}),  # leaves
    frozenset({"charts"}),
    frozenset({"engine", "data", "models", "measures"}),  # know nothing of each other
    frozenset({"probes"}),
    frozenset({"tasks"}),
    frozenset({"pairs", "schema", "explain"}),
    frozenset({"origin"}),
    frozenset({"study"}),
    frozenset({"analyses"}),
    frozenset({"report", "forecast"}),
    frozenset({"battery", "rehearsal"}),
    frozenset({"console", "preflight", "propose_table"}),
    frozenset({"propose"}),
    frozenset({"cli"}),
)
NEVER = {("probes", "engine"): "a probe is for notebooks too, where there are no steps"}
# (file, room it imports) -> why that is right all the same
EXCEPTIONS: dict[tuple[str, str], str] = {}

LEVEL = {room: number for number, rooms in enumerate(LEVELS) for room in rooms}


def nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node but those below `if TYPE_CHECKING:`, which never run."""
    for child in ast.iter_child_nodes(tree):
        if not (isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)):
            yield child
            yield from nodes(child)


def imports() -> set[tuple[str, str, str]]:
    """(file, its room, room it imports) for every import anywhere in a file, also inside functions."""
    found = set()
    for file in ROOT.rglob("*.py"):
        inside = file.relative_to(ROOT)
        room = inside.parts[0].removesuffix(".py")
        for node in nodes(ast.parse(file.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{inside}: write the import in full"
                whole = node.module or ""
                names += [f"{whole}.{alias.name}" for alias in node.names] if whole == "transferscope" else [whole]
            for name in names:
                parts = name.split(".")
                if parts[0] == "transferscope" and len(parts) > 1 and not parts[1].startswith("__"):
                    found.add((inside.as_posix(), room, parts[1]))
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


def test_every_file_opens_with_a_sentence() -> None:
    for file in ROOT.rglob("*.py"):
        first = (ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or "").partition("\n")[0]
        assert len(first) > 15, f"{file.relative_to(ROOT)} does not say what it is"
