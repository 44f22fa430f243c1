"""Every block of code of README and docs does what a reader will try: Python runs, commands parse, YAML is a study."""

import ast
import inspect
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import shard
import typer.main
import yaml
from pages import PAGES, TOP, Block, blocks
from pages.runs import NOT_READ, NOT_RUN, RUNS, Run

from transferscope import cli
from transferscope.against import form
from transferscope.console import logfile
from transferscope.errors import UserError
from transferscope.study.extends import merged
from transferscope.study.file import StudyFile

BASE = {"targets": {"skin": "folder:images"}, "network": "timm:resnet18", "pretrained": "timm"}
NAMES = {page.relative_to(TOP).as_posix(): page for page in PAGES}
OF = {
    language: [name for name, page in NAMES.items() if any(one.language == language for one in blocks(page))]
    for language in ("python", "yaml")
}


def of(page: str, language: str) -> list[Block]:
    return [one for one in blocks(NAMES[page]) if one.language == language]


@pytest.mark.parametrize("page", NAMES)
def test_commands_parse(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the command line itself does it: the verb, its options and the number of its arguments."""
    monkeypatch.chdir(tmp_path)  # a log file begins where it is named
    verbs = typer.main.get_command(cli.app).commands  # type: ignore[attr-defined]
    for block in blocks(NAMES[page]):
        if block.language not in ("", "console", "bash", "sh"):
            continue
        for line in block.commands():
            words = shlex.split(re.split(r"\s[<>]", line)[0]) if line.startswith(("transferscope ", "python ")) else []
            if words[:1] == ["transferscope"] and words[1] not in ("--help", "--version"):
                assert words[1] in verbs, f"{block}: {line}"
                try:
                    verbs[words[1]].make_context(words[1], words[2:])
                except Exception as error:
                    pytest.fail(f"{block}: {line}: {error}")
                finally:
                    logfile.end("none: it was only parsed")
            if words[:1] == ["python"] and words[1].endswith(".py"):
                assert (TOP / words[1]).is_file() or written(block.page, words[1]), f"{block}: {line}"


def written(page: Path, name: str) -> bool:
    """Whether a page tells the reader to save a block under this name."""
    return f"`{name}`" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize("page", OF["yaml"])
def test_yaml_is_a_study(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Alone, or where it is a fragment with the keys of a small study beneath it; the files that it names are there."""
    (tmp_path / "my_lab").mkdir()
    (tmp_path / "my_lab" / "nets.py").write_text("def conv1d(num_classes): ...\n", encoding="utf-8")
    (tmp_path / "common.yaml").write_text(yaml.safe_dump(BASE), encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    for block in of(page, "yaml"):
        if str(block) in NOT_READ or not (said := yaml.safe_load(block.text)):
            continue
        if "tables" in said:  # published numbers
            (tmp_path / "published.yaml").write_text(block.text, encoding="utf-8")
            assert form.read(str(tmp_path / "published.yaml"))
            continue
        apart = isinstance(said.get("pretrained"), dict)  # one origin of weights, so nothing of the base's
        whole = merged(BASE, said) | ({"pretrained": said["pretrained"]} if apart else {})
        make_files(whole, tmp_path)
        whole = said if "extends" in said else whole
        (tmp_path / "study.yaml").write_text(yaml.safe_dump(whole), encoding="utf-8")
        try:
            StudyFile.load(tmp_path / "study.yaml")
        except UserError as error:
            pytest.fail(f"{block}: {error}")


def make_files(said: dict[str, Any], folder: Path) -> None:
    """Whatever references name: a table with the columns that are asked for, a folder of two folders, or a file."""
    targets = said.get("targets", {})
    for target in targets.values() if isinstance(targets, dict) else ():
        asked = target.get("columns", {}).values() if isinstance(target, dict) else ()
        columns = [one for column in asked for one in (column if isinstance(column, list) else [column])]
        row = pl.DataFrame({one.replace("*", "1"): [1.0] for one in columns or ["path"]})
        kind, _, name = (target["ref"] if isinstance(target, dict) else target).partition(":")
        if kind in ("folder", "hf", "text"):
            for inner in ("a", "b"):
                (folder / name / inner).mkdir(parents=True, exist_ok=True)
        elif kind == "csv":
            row.write_csv(folder / name)
        elif kind == "parquet":
            row.write_parquet(folder / name)
        elif kind == "webdataset":
            shard.write(folder / name / "all.tar", [("0", {"txt": "a text", "cls": 0})])
        elif kind == "npz":
            np.savez(folder / name, x=np.zeros((4, 8)), y=np.zeros(4))
    for name in re.findall(r"\bfile:([\w.]+)", str(said)):
        (folder / name).write_bytes(b"weights")


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in OF["python"] if page not in NOT_RUN])
def test_python_runs(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The blocks of a page one after the other, in one namespace and in a folder with what the page speaks of."""
    monkeypatch.chdir(tmp_path)
    run = RUNS.get(page, Run(lambda folder: {}))
    names = run.prepare(tmp_path)
    used = set()
    for block in of(page, "python"):
        text = block.text
        for piece, smaller in run.smaller.items():
            used |= {piece} if piece in text else set()
            text = text.replace(piece, smaller)
        # Lines before it keep a traceback's numbers those of the page.
        exec(compile("\n" * block.line + text, str(NAMES[page]), "exec"), names)
    assert used == set(run.smaller), "what is made smaller is still there"


@pytest.mark.parametrize("page", NOT_RUN)
def test_what_is_not_run_fits_what_it_calls(page: str) -> None:
    for block in of(page, "python"):
        tree = ast.parse(block.text)
        names: dict[str, Any] = {}
        for node in tree.body:
            if isinstance(node, ast.Import | ast.ImportFrom):
                exec(compile(ast.Module([node], []), str(block), "exec"), names)
        calls = [one for one in ast.walk(tree) if isinstance(one, ast.Call) and isinstance(one.func, ast.Attribute)]
        seen = 0
        for call in calls:
            function = call.func
            assert isinstance(function, ast.Attribute)
            if isinstance(function.value, ast.Name) and function.value.id in names:
                given = {str(one.arg): None for one in call.keywords}
                inspect.signature(getattr(names[function.value.id], function.attr)).bind(*call.args, **given)
                seen += 1
        assert seen, f"{block}: no call of anything that it imports"


def test_the_table_names_pages_with_blocks() -> None:
    assert {*RUNS, *NOT_RUN} <= set(OF["python"])
    assert set(NOT_READ) <= {str(one) for page in OF["yaml"] for one in of(page, "yaml")}
    assert all(len(reason.split()) > 3 for reason in (*NOT_RUN.values(), *NOT_READ.values()))
