"""A small study's worth of made-up results: two arms, three seeds, four charts, one failed cell, one hostile name."""

import itertools
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from transferscope import charts
from transferscope.charts import learning_curves as drawn
from transferscope.report import PagePart, Provenance, write_report
from transferscope.report.first_screen import Asked
from transferscope.section import Card, Chart, DataSet, Finding, Picture, Section, View

HOSTILE = "<script>alert(1)</script><!-- </ScRiPt>"
GUIDE = """What pretraining gave: the same recipe from random and from pretrained weights.

Two curves that meet mean that pretraining bought **speed**, not accuracy; see `final` below.

- the band is the 95% interval over seeds
- the thin lines are single seeds

<img src=x onerror=alert(2)> ![spy](https://example.org/spy.png)
"""


def png(side: int = 8) -> bytes:
    """A plain blue square as PNG."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    rows = (b"\0" + b"\x31\x78\xc6" * side) * side
    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def learning_curves(epochs: int = 30) -> pl.DataFrame:
    """One row per arm, seed and epoch, with a test accuracy in 0..1."""
    noise = np.random.default_rng(0)
    rows = []
    for (arm, top, rate), seed in itertools.product((("random", 0.66, 0.09), ("pretrained", 0.82, 0.25)), range(3)):
        for epoch in range(epochs + 1):
            left = np.exp(-rate * epoch)
            accuracy = float(top * (1 - left) + 0.11 * left + noise.normal(0, 0.008) + (seed - 1) * 0.012)
            rows.append({"arm": arm, "seed": seed, "epoch": epoch, "accuracy": accuracy})
    return pl.DataFrame(rows)


def over_seeds(runs: pl.DataFrame, *by: str) -> pl.DataFrame:
    spread = 2.5 * pl.col("accuracy").std()
    mean = pl.col("accuracy").mean()
    return runs.group_by(*by, maintain_order=True).agg(mean, low=mean - spread, high=mean + spread)


def transfer_part() -> PagePart:
    runs = learning_curves()
    last = runs.filter(pl.col("epoch") == 30)
    curves = charts.lines(
        over_seeds(runs, "arm", "epoch"),
        "epoch",
        "accuracy",
        "arm",
        low="low",
        high="high",
        runs=runs,
        percent=True,
        x_title="epoch",
        y_title="test accuracy",
    )
    final = charts.dots(
        over_seeds(last, "arm"),
        "arm",
        "accuracy",
        "arm",
        low="low",
        high="high",
        runs=last,
        percent=True,
        value_title="final test accuracy",
    )
    target = pl.concat([runs.with_columns(target=pl.lit(name)) for name in ("openmoji:color", HOSTILE)])
    both = charts.lines(
        over_seeds(target, "target", "arm", "epoch"),
        "epoch",
        "accuracy",
        "arm",
        low="low",
        high="high",
        facet="target",
        percent=True,
        x_title="epoch",
        y_title="test accuracy",
    )
    return PagePart(
        name="transfer",
        docstring=GUIDE,
        section=Section(
            title="What pretraining gave",
            findings=(
                Finding(
                    "Pretraining raised the final test accuracy by 15.8 points.",
                    15.8,
                    11.2,
                    20.4,
                    3,
                    "points",
                    claim=1,
                    verdict="supports",
                ),
                Finding(
                    "The pretrained arm reached the random arm’s final accuracy in 6 epochs instead of 30, "
                    f"for class {HOSTILE} too.",
                    -24,
                    -31,
                    4,
                    3,
                    "epochs",
                    claim=2,
                    verdict="open",
                ),
                Finding("Neither curve had flattened when training ended."),
            ),
            charts=(
                Chart("curves", "Learning curves", curves, "Mean over 3 seeds with its 95% interval."),
                Chart("final", "Where they ended", final, "Large dots are means, small dots are seeds."),
                Chart("targets", f"Each target {HOSTILE}", both),
            ),
            tables=(View("final", "Final accuracy", over_seeds(last, "arm"), "Interval over seeds."),),
            pictures=(Picture("square", "An example image", png(), "Made up."),),
            notes=("Only 3 seeds: no significance is claimed below 6.",),
            cards=(
                Card(
                    "Gain",
                    "yes",
                    "Pretraining helped: the final test accuracy is 82% with it and 66% from scratch",
                    15.8,
                    11.2,
                    20.4,
                    3,
                    "points",
                    "likely: the interval lies above 0, but 3 seeds are few",
                    target="emoji",
                ),
                Card(
                    "Freeze",
                    "unsure",
                    f"Freezing {HOSTILE} is not shown to be harmless",
                    0.4,
                    -3.1,
                    3.9,
                    3,
                    "points lost (harmless: up to 1)",
                    target="emoji",
                ),
            ),
            opening=(
                Chart("opening", "Test accuracy after every epoch", opening(runs), "Thick: mean over seeds."),
                View(
                    "arms", "Scores", pl.DataFrame({"trained": ["pretrained", "from scratch"], "final": ["82%", "66%"]})
                ),
            ),
            data=(
                DataSet("emoji", 900, 50, 100, 9, alarms=("Classes of fewer than 10 train images: 'flags' has 3.",)),
            ),
        ),
        table=runs.with_columns(label=pl.lit(HOSTILE)),
        missing=(({"target": "openmoji:color", "arm": "random", "seed": 3}, f"the loss became NaN in {HOSTILE}"),),
    )


def opening(runs: pl.DataFrame) -> Any:
    scores = runs.rename({"accuracy": "score"})
    means = scores.group_by("epoch", "arm", maintain_order=True).agg(pl.col("score").mean())
    words = {"random": "from scratch", "pretrained": "pretrained"}
    return drawn.curves(means, scores, words, "test accuracy", 0.11)


def similarity_part() -> PagePart:
    blocks = ["conv1", "layer_1", "layer_2", "layer_3", "layer_4", "fc"]
    cells = [
        {"a": a, "b": b, "cka": float(np.exp(-abs(i - j) / 3))}
        for (i, a), (j, b) in itertools.product(enumerate(blocks), enumerate(blocks))
    ]
    table = pl.DataFrame(cells)
    heat = charts.heat(
        table, "a", "b", "cka", domain=(0, 1), x_title="block of P-T", y_title="block of RI-T", value_title="CKA"
    )
    finding = Finding(
        "Blocks of the two arms resemble each other least at the top.",
        0.19,
        0.11,
        0.27,
        3,
        claim=3,
        verdict="contradicts",
    )
    section = Section("Similarity of features", (finding,), (Chart("cka", "CKA, block by block", heat, "1 is alike."),))
    return PagePart("similarity", "How alike the arms' features are.", section, table)


def empty_part() -> PagePart:
    section = Section("Barrier", tables=(View("none", "Heights", pl.DataFrame(schema={"arm": pl.String})),))
    reasons = [({"arm": arm, "seed": seed}, "not run yet") for arm in ("random", "pretrained") for seed in range(3)]
    return PagePart("barrier", "", section, pl.DataFrame(schema={"arm": pl.String, "height": pl.Float64}), reasons)


def provenance() -> Provenance:
    runs = itertools.product(("random", "pretrained"), range(3))
    steps = [("train", f"{seed:02d}ab34cd56ef", 61.2 + seed, {"arm": arm, "seed": seed}) for arm, seed in runs]
    return Provenance(
        study=f"title: {HOSTILE}\narms: [random, pretrained]\n",
        versions={"transferscope": "0.1.0", "torch": "2.5.1"},
        machine={"processor": "2 cores", "memory": "8 GiB", "system": "Linux"},
        seconds=412.0,
        steps=[*steps, ("ingest", "77aa", None, {"target": HOSTILE})],
        created="1 June 2025",
    )


def write(folder: Path) -> Path:
    return write_report(
        folder,
        title="Emoji from ImageNet",
        question="What did ImageNet pretraining give this network on nine kinds of emoji?",
        parts=[transfer_part(), similarity_part(), empty_part()],
        provenance=provenance(),
        asked=Asked("net", "some weights", 64, 3),
    )
