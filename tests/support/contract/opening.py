"""What the files of all kinds promise: a first sentence that begins with their name, and no heavy import."""

import ast
import inspect
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

HEAVY = {"torch", "timm", "torchvision", "sklearn", "safetensors", "transformers"}


def called(module: ModuleType, package: str) -> str:
    """What a study calls a module: its file name where it is one of `package`, else its dotted path."""
    return module.__name__.removeprefix(f"{package}.")


def arguments(function: Callable[..., object]) -> list[str]:
    return list(inspect.signature(function).parameters)


def check_first_line(module: ModuleType) -> None:
    """`transferscope ls` shows it."""
    line = (inspect.getdoc(module) or "").partition("\n")[0]
    name = module.__name__.rpartition(".")[2]
    assert line.lstrip("`").startswith(name) and len(line.split()) > 4, f"say how it is written and what it is: {line}"


def check_light(module: ModuleType) -> None:
    """Heavy imports stand inside functions, so that `plan`, `report` and `--help` stay quick."""
    for node in ast.parse(Path(str(module.__file__)).read_text(encoding="utf-8")).body:
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        assert not HEAVY & {name.partition(".")[0] for name in names}, f"import it in functions: {ast.unparse(node)}"
