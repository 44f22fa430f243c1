"""What a notebook shows of a result: words, notes, a table and a picture; never arrays, never long, no script."""

import importlib
import re
from typing import Any

import pytest
import torch
from probing.asked import LAYERS, network

import transferscope as ts
from transferscope.probes import result

DRAW = torch.Generator().manual_seed(0)
X, Y = torch.randn(48, 3, 9, 9, generator=DRAW), torch.arange(48) % 4
BATCHES = list(zip(X.split(12), Y.split(12), strict=True))
A, B = network(1), network(2)

MADE: dict[str, Any] = {
    "similarity": lambda: ts.similarity(A, B, BATCHES, LAYERS),
    "similarity_matrix": lambda: ts.similarity_matrix([A, B], BATCHES, LAYERS),
    "grams": lambda: ts.grams(A, BATCHES, LAYERS),
    "mistakes": lambda: ts.mistakes(ts.predictions(A, BATCHES), ts.predictions(B, BATCHES)),
    "neighbours": lambda: ts.neighbours(A, BATCHES, LAYERS),
    "procrustes": lambda: ts.procrustes(A, B, BATCHES, LAYERS),
    "transferability": lambda: ts.transferability(A, BATCHES[:3], BATCHES[3:]),
    "distance": lambda: ts.distance(A, B),
    "spectrum": lambda: ts.spectrum(A, B),
    "path": lambda: ts.path(A, B, BATCHES, alphas=3),
    "line_barrier": lambda: ts.line_barrier(A, B, BATCHES, tolerance=0.3),
    "plane": lambda: ts.plane(A, B, network(3), BATCHES, steps=2),
    "average": lambda: ts.average([A, B], BATCHES),
    "wise_ft": lambda: ts.wise_ft(A, B, BATCHES, alphas=[0.0, 1.0]),
    "layerwise_barrier": lambda: ts.layerwise_barrier(A, B, BATCHES, alphas=3),
    "rewind": lambda: ts.rewind(A, B, BATCHES),
    "criticality": lambda: ts.criticality(A, B, BATCHES, alphas=2, sigmas=1, draws=1),
}


def sound(html: str) -> None:
    assert "<script" not in html and "array(" not in html and "tensor(" not in html and ">nan<" not in html.lower()
    words = re.sub(r"<[^>]*>", "", re.sub(r"data:[^\"]*|<style>.*?</style>", "", html, flags=re.DOTALL))
    assert 50 < len(words) < 5000 and "  File " not in words


@pytest.mark.parametrize("name", MADE)
def test_a_result_shows_its_table_and_chart(name: str) -> None:
    made = MADE[name]()
    html = made._repr_html_()
    sound(html)
    assert f"<strong>{type(made).__name__}</strong>" in html
    assert "<table" in html and "data:image/svg+xml;base64," in html
    for note in getattr(made, "notes", ()):
        assert note.split("'")[0] in html


def test_every_result_can_be_shown() -> None:
    for name, home in result.HOMES.items():
        assert issubclass(getattr(importlib.import_module(result.ROOM + home), name), result.Shown), name


def test_what_has_no_chart_says_why_and_what_is_long_is_cut() -> None:
    long = ts.predictions(A, [X.repeat(100, 1, 1, 1)])
    html = long._repr_html_()
    sound(html)
    assert "no labels to draw a confusion of" in html and "(4_800, 3)" in html.replace(",", "_", 0).replace(
        "4800", "4_800"
    )
    sound(ts.penultimate(A, BATCHES)._repr_html_())


def test_texts_of_others_stay_texts() -> None:
    named = ts.mistakes(ts.predictions(A, BATCHES), ts.predictions(B, BATCHES), names=["<script>x", "b", "c", "d"])
    assert "<script" not in named._repr_html_()
