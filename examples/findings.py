"""The paper's claims on four targets, and their table: docs/findings.md. About an hour and a half on two cores.

    python -m pip install '.[quickstart,elpv,digits]' && python examples/findings.py findings

makes a study of every target in the folder `findings` from `findings.yaml`, with one store for all, and runs it; what
was done before is not done again. The claim on checkpoints is that of `checkpoints.yaml`, run there as well. At the end
the table is printed in Markdown: a verdict a cell, with the effect that it hangs on, its 95% interval and the seeds.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from transferscope.report.claims import WORDS, claims
from transferscope.section import CLAIMS

TARGETS = {"color": "openmoji:color", "line": "openmoji:line", "cells": "elpv:binary", "digits": "digits"}
HERE = Path(__file__).parent


def studies(folder: Path) -> dict[str, Path]:
    """The study files by name: one a target, and that of checkpoints."""
    made = {}
    for name in (*TARGETS, "checkpoints"):
        source = HERE / ("checkpoints.yaml" if name == "checkpoints" else "findings.yaml")
        study = yaml.safe_load(source.read_text(encoding="utf-8"))
        study |= {"resources": {"store": "../store"}}
        if name in TARGETS:
            study |= {"targets": {name: TARGETS[name]}}
        made[name] = folder / name / "study.yaml"
        made[name].parent.mkdir(parents=True, exist_ok=True)
        made[name].write_text(yaml.safe_dump(study, sort_keys=False), encoding="utf-8")
    return made


def judged(study: Path, target: str) -> dict[int, dict[str, Any]]:
    """What a finished study says of every claim on a target."""
    if not (results := study.parent / "results.json").exists():
        return {}
    sections = json.loads(results.read_text(encoding="utf-8"))["analyses"]
    for section in sections:
        section |= {"id": section["name"], "kind": section["name"]}
        here = [one for one in section["findings"] if f"On {target}," in one["text"]]
        section["findings"] = [{"needed": None, "shown": None, **one} for one in here]
    return {line["number"]: line for line in claims(sections)}


def cell(line: dict[str, Any] | None) -> str:
    """A claim in a cell: its verdict, and the effect that this hangs on."""
    if not line or not line["verdict"]:
        return "not judged"
    one = line["findings"][0]
    effect = f"{one['effect']:.2f}"
    if one["low"] is not None:
        effect += f" [{one['low']:.2f}, {one['high']:.2f}]"
    parts = f"; {one['shown'][0]} of {one['shown'][1]} comparisons shown" if one.get("shown") else ""
    return f"**{WORDS[line['verdict']].lower()}** {effect} {one['unit']}, {one['n']} seeds{parts}".replace("-", "−")


def table(made: dict[str, Path]) -> str:
    """The claims, a line each, against the targets."""
    found = {name: judged(made[name], name) for name in TARGETS}
    of_checkpoints = {name: judged(made["checkpoints"], name).get(10) for name in TARGETS}
    rows = [f"| claim | {' | '.join(TARGETS)} |", f"|---{'|---' * len(TARGETS)}|"]
    for number, claim in CLAIMS.items():
        lines = of_checkpoints if number == 10 else {name: found[name].get(number) for name in TARGETS}
        rows.append(f"| {number}. {claim} | {' | '.join(cell(lines[name]) for name in TARGETS)} |")
    return "\n".join(rows)


if __name__ == "__main__":
    made = studies(Path(sys.argv[1] if len(sys.argv) > 1 else "findings"))
    for path in made.values() if "--table" not in sys.argv else ():
        subprocess.run(["transferscope", "run", str(path)], check=True)
    print(table(made))
