"""What `init` makes of a table: every column and what it is taken for, shown and written into the study."""

import textwrap
from pathlib import Path
from typing import Any

import yaml

from transferscope.answers import Task
from transferscope.data import Columns, Target
from transferscope.data.listing import Measured
from transferscope.data.sheets.understood import Understood, understood
from transferscope.propose.lines import quoted

LINES = 60  # columns that are shown; of more the number is told
SHOWN = 28  # characters of a name or a cell
CHEXPERT = {"Enlarged Cardiomediastinum", "Atelectasis", "Edema", "Pleural Effusion", "Support Devices"}
CHEXPERT_ONES = ("Atelectasis", "Edema")  # whose uncertain cells are mostly right (Irvin et al. 2019); the rest count 0


def target(file: Path, ref: str, task: Task | None = None) -> tuple[Target, list[str]]:
    """The target `ref` of a table with its columns written out, and the lines that say how it was understood.

    Columns that leave a doubt are left out, and the lines say so. Numbers that measure are those of a regression,
    unless the `task` says otherwise. UserError when the table cannot be used.
    """
    try:
        first = understood(file, Columns(), task=task, asks=False)
    except Measured:
        task = "regression"
        first = understood(file, Columns(), task=task, asks=False)
    said: dict[str, Any] = {"ref": ref, "columns": first.roles.columns(), "task": task}
    if first.read.unsure:
        chexpert = set(first.roles.labels) >= CHEXPERT
        said["uncertain"] = dict.fromkeys(CHEXPERT_ONES, 1) if chexpert else 0
    found = Target(**said)
    seen = understood(file, first.roles.columns(), None, found.uncertain, task)
    return found, [*_shown(first), *seen.notes]


def written(target: Target) -> str:
    """A target as YAML after its name: a reference, or a mapping below."""
    said = target.model_dump(mode="json")
    if not isinstance(said, dict):
        return f" {quoted(said)}"
    label = (said.get("columns") or {}).get("label", ())
    if len(label) == 1:
        said["columns"]["label"] = label[0]
    if isinstance(window := said.get("window"), list):
        said["window"] = [int(end) if end == int(end) else end for end in window]
    text = yaml.safe_dump(said, sort_keys=False, allow_unicode=True, width=100, default_flow_style=None)
    return "\n" + textwrap.indent(text.rstrip("\n"), "    ")


def _shown(seen: Understood) -> list[str]:
    """A line for every column (the first ones of very many): its name, what it is taken for, and a cell of it."""
    rows = [("column", "taken as", "such as")]
    meanings = seen.roles.meanings()
    for name, taken in meanings[:LINES]:
        rows.append((_short(name), taken, _short(next(filter(None, seen.sheet.cells[name]), ""))))
    wide = [max(len(row[place]) for row in rows) for place in (0, 1)]
    more = [f"  and {len(meanings) - LINES:,} more columns"] if len(meanings) > LINES else []
    return [*(f"  {name:<{wide[0]}}  {taken:<{wide[1]}}  {cell}".rstrip() for name, taken, cell in rows), *more]


def _short(text: str) -> str:
    return text if len(text) <= SHOWN else text[: SHOWN - 3] + "..."
