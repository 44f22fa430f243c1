"""Seeds added one at a time: a study stops at the first look that decides, and goes on where it was stopped."""

import json
from pathlib import Path

import pytest
from smoke import study as smoke

from transferscope import battery

KEYS = ("--set", "resources.executor=inline", "--set", "recipe.epochs=2", "--set", "arms=[random, pretrained]")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    here = tmp_path_factory.mktemp("sequential")
    smoke.write(here)
    return here


def results(folder: Path) -> dict[str, object]:
    return dict(json.loads((folder / "results.json").read_text(encoding="utf-8")))


def verdicts(folder: Path) -> list[tuple[int, str, int]]:
    said = results(folder)["analyses"]
    assert isinstance(said, list)
    return [(f["claim"], f["verdict"], f["n"]) for one in said for f in one["findings"] if f["claim"]]


def test_a_claim_that_is_clear_at_the_first_look_stops_the_study(folder: Path, call) -> None:
    """Random networks lie far from each other whatever the seed: claim 6 is decided at once."""
    said = call("run", folder / "study.yaml", "--set", "seeds={from: 3, to: 6}", "--set", "analyses=[distance]", *KEYS)
    assert said.code == 0 and "is added" not in said.out
    assert verdicts(folder) == [(6, "supports", 3)]
    assert "Seeds are added one at a time from 3 to 6" in str(results(folder)["design"])


def test_a_claim_that_stays_open_takes_seeds_to_the_last(folder: Path, call, monkeypatch) -> None:
    """No network of so small a study differs in its score: claim 1 is open to the end. Every look leaves its page."""
    pages: list[tuple[int, bool]] = []
    write = battery.results

    def noted(study, *rest, running: bool = False, **more):
        pages.append((len(study.seeds), running))
        return write(study, *rest, running=running, **more)

    monkeypatch.setattr(battery, "results", noted)
    keys = ("--set", "seeds={from: 3, to: 5}", "--set", "analyses=[transfer, distance]", *KEYS)
    said = call("run", folder / "study.yaml", *keys)
    assert said.code == 0
    assert "With 4 seeds a claim is undecided: seed 5 is added." in said.out, "what is there makes the look at 3 seeds"
    assert [seeds for seeds, running in pages if not running] == [4, 5]
    assert {(claim, n) for claim, _, n in verdicts(folder)} == {(1, 5), (6, 5)}
    before = (folder / "results.json").read_bytes()
    again = call("run", folder / "study.yaml", *keys)
    assert again.code == 0 and "Nothing to do" in again.out and (folder / "results.json").read_bytes() == before
    assert "steps done." in call("status", folder / "study.yaml", *keys).out
    # A seed that is lost is computed again, and no more than it.
    for run in sorted((folder / "store" / "train").iterdir())[:1]:
        for file in run.iterdir():
            file.unlink()
        run.rmdir()
    assert call("run", folder / "study.yaml", *keys).code == 0
    assert (folder / "results.json").read_bytes() == before


def test_seeds_raised_by_hand_are_told(folder: Path, call) -> None:
    """After the looks at 3, 4 and 5 of the test before."""
    keys = ("--set", "seeds=6", "--set", "analyses=[transfer, distance]", *KEYS)
    assert call("run", folder / "study.yaml", *keys).code == 0
    assert "raised to 6 by hand after looking at 3, 4, 5" in str(results(folder)["design"])
