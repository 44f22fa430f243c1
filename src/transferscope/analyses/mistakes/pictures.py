"""Strips of the images that networks get wrong: written by the step, shown on the page."""

import json
from pathlib import Path
from typing import Any

from transferscope.engine.table import ResultTable
from transferscope.section import Picture
from transferscope.study.pairs import sides

SIDE, GAP = 72, 4  # pixels of a picture in a strip, and between two


def strip(
    path: Path, table: Any, rows: Any, outputs: list[Any], places: Any, second: bool, count: int
) -> dict[str, Any]:
    """Write the `count` surest mistakes among `places` as one row of pictures; what they are and were taken for."""
    import numpy as np
    from PIL import Image

    out = outputs[1 if second else 0][places]
    gap = np.abs(out) if table.multilabel else out.max(1, keepdims=True) - out
    truth = table.labels[rows[places]]
    sure = (gap * ((out > 0) != truth) * (truth >= 0)).max(1) if table.multilabel else gap[np.arange(len(out)), truth]
    chosen = np.argsort(-sure, kind="stable")[:count]
    sheet = Image.new("RGB", (len(chosen) * (SIDE + GAP) - GAP, SIDE), "white")
    for x, pixels in enumerate(table.pictures(rows[places[chosen]])):
        tile = Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.LANCZOS)
        sheet.paste(tile, (x * (SIDE + GAP), 0))
    sheet.save(path, "PNG", optimize=True)
    names: list[list[str]] = []
    if not table.multilabel:
        names = [[table.classes[truth[i]], table.classes[int(out[i].argmax())]] for i in chosen]
    return {"images": len(places), "shown": names, "files": [table.names[rows[places[i]]] for i in chosen]}


def shown(table: ResultTable) -> list[Picture]:
    """The strips of the first finished seed of each pair of different arms."""
    found: list[Picture] = []
    shown: set[tuple[str, str]] = set()
    for labels, artifact in table.artifacts:
        target, kind = str(labels["target"]), str(labels["pair"])
        if (target, kind) in shown or not artifact.has("strips.json"):
            continue
        shown.add((target, kind))
        a, b = sides(kind)
        titles = {
            "only-a": f"wrong only for {a}",
            "only-b": f"wrong only for {b}",
            "both": f"wrong for both {a} and {b}",
        }
        said = json.loads(artifact.file("strips.json").read_text(encoding="utf-8"))
        for name, of in said.items():
            caption = f"Seed {labels['seed']}, {of['images']} images, the surest mistakes first."
            if of["shown"]:
                caption += (
                    " Left to right: " + ", ".join(f"{true} taken for {answer}" for true, answer in of["shown"]) + "."
                )
            png = artifact.file(f"{name}.png").read_bytes()
            found.append(Picture(f"{target}-{a}-{b}-{name}", f"On {target}, {titles[name]}", png, caption))
    return found
