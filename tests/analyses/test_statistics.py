"""As many training images as the study says make batch-norm statistics, in every task that re-estimates them."""

import importlib
import pkgutil

from smoke import study as smoke

from transferscope import probes
from transferscope.probes.walks.states import States

from .conftest import finish

FEW, ASKED = 20, 40  # what a probe takes unless told, here; and what the study asks for
OPTIONS = (
    "{barrier: {pairs: [replicas], images: 24, statistics: 40, alphas: 3},"
    " rewind: {splits: [test], images: 24, statistics: 40, checkpoints: none, redraw: none, cumulative: none},"
    " basin: {samples: 3, draws: 2, per_weight: [0.01], images: 24, statistics: 40, limit: 0.1},"
    " average: {steps: 2, images: 24, statistics: 40}}"
)


def test_no_task_keeps_to_the_default_of_its_probe(tmp_path, monkeypatch):
    monkeypatch.setitem(States.__init__.__kwdefaults__, "images", FEW)
    for place in pkgutil.walk_packages(probes.__path__, "transferscope.probes."):
        for thing in vars(importlib.import_module(place.name)).values():
            if "images" in (defaults := getattr(thing, "__kwdefaults__", None) or {}):
                monkeypatch.setitem(defaults, "images", FEW)
    measured: list[int] = []
    plain = States._statistics

    def counted(self, *given):
        found = plain(self, *given)
        measured.append(sum(map(len, found)))
        return found

    monkeypatch.setattr(States, "_statistics", counted)
    done = finish(smoke.write(tmp_path), {"analyses": OPTIONS, "arms": "[random, pretrained]"})
    assert {cell.analysis for cell in done.plan.cells} == {"images", "barrier", "rewind", "basin", "average"}
    assert measured and set(measured) == {ASKED}
    for analysis in ("barrier", "rewind"):
        rows = done.table(analysis).rows
        words = set(rows["statistics" if analysis == "barrier" else "basis"])
        assert all(f"on {ASKED} images given as statistics" in word for word in words)
