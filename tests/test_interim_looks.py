"""At how many seeds claims are judged: by plan, or because somebody looked again."""

from pathlib import Path

import pytest
import yaml
from smoke import study as smoke

from transferscope import adding_seeds, interim_looks
from transferscope.engine.store import Store
from transferscope.errors import UserError
from transferscope.measures.deciding import fixed, sequential
from transferscope.measures.intervals import mean_interval
from transferscope.section import Finding, Section
from transferscope.study import Study


def load(tmp_path: Path, **changes: str) -> tuple[Study, Store]:
    file = tmp_path / "study.yaml"
    if not file.exists():
        smoke.write(tmp_path)
    study = Study.load(file, changes)
    return study, Store(study.store_folder)


def test_seeds_that_are_fixed_are_one_look(tmp_path: Path) -> None:
    study, store = load(tmp_path, seeds="4")
    assert interim_looks.design(study, store) == fixed(4)
    interim_looks.remember(study, store)
    assert interim_looks.design(study, store) == fixed(4), "the same page again is no other look"


def test_seeds_that_are_raised_are_another_look(tmp_path: Path) -> None:
    for seeds in ("3", "5"):
        interim_looks.remember(*load(tmp_path, seeds=seeds))
    found = interim_looks.design(*load(tmp_path, seeds="8"))
    assert found == fixed(3).raised(5).raised(8) and "raised to 8 by hand after looking at 3, 5" in found.words
    assert interim_looks.design(*load(tmp_path, seeds="5")) == fixed(3).raised(5)
    assert interim_looks.design(*load(tmp_path, seeds="3")) == fixed(3)
    assert interim_looks.design(*load(tmp_path, seeds="8", **{"recipe.epochs": "5"})) == fixed(8), "another question"
    assert interim_looks.design(*load(tmp_path, seeds="8", analyses="[transfer]")) == fixed(3).raised(5).raised(8)


def test_seeds_that_are_added_by_plan_share_the_error(tmp_path: Path) -> None:
    study, store = load(tmp_path, seeds="{from: 3, to: 6}")
    assert study.seeds == (0, 1, 2) and study.growing == (3, 6)
    assert interim_looks.design(study, store) == sequential(3, 6)
    later = study.changed(seeds=(0, 1, 2, 3))
    assert interim_looks.design(later, store) == sequential(3, 6)
    interim_looks.remember(later, store)
    assert interim_looks.design(*load(tmp_path, seeds="9")) == fixed(3).raised(4).raised(9)


def test_a_study_says_its_seeds_as_they_were_written(tmp_path: Path) -> None:
    study, _ = load(tmp_path, seeds="{from: 3, to: 6}")
    said = yaml.safe_load(study.changed(seeds=(0, 1, 2, 3)).resolved())
    assert said["seeds"] == {"from": 3, "to": 6} and "growing" not in said
    assert "growing" not in yaml.safe_load(load(tmp_path, seeds="3")[0].resolved())


@pytest.mark.parametrize(
    ("seeds", "sentence"),
    [
        ("{from: 3}", "seeds: a count, a list, or '{from: 3, to: 8}'"),
        ("{from: 3, to: 8, by: 2}", "seeds: a count, a list, or"),
        ("{from: 3, to: 3}", "from 3 to 3 must begin at 3 or more and rise to 30 at most"),
        ("{from: 2, to: 8}", "must begin at 3"),
        ("{from: 3, to: 31}", "to 30 at most"),
        ("{from: three, to: 8}", "two whole numbers"),
    ],
)
def test_bad_looks_are_one_sentence(tmp_path: Path, seeds: str, sentence: str) -> None:
    with pytest.raises(UserError) as error:
        load(tmp_path, seeds=seeds)
    assert sentence in str(error.value) and "study.yaml" in str(error.value)


def test_what_the_study_keeps_for_itself_is_no_key(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"unknown key 'growing'; 'seeds: \{from: 3, to: 8\}'"):
        load(tmp_path, growing="[3, 8]")


def test_only_what_another_seed_may_decide_waits() -> None:
    open_, short = mean_interval([1.0, -1.0, 0.5]), mean_interval([1.0, -1.0])
    findings = [
        Finding("waits", claim=1, verdict="open", effects=(open_,)),
        Finding("is decided", claim=1, verdict="supports", effects=(open_,)),
        Finding("has no value of every seed", claim=2, verdict="open", effects=(open_, short)),
        Finding("lacks an effect", claim=3, verdict="open", effects=(open_, None)),
        Finding("judges no claim"),
    ]
    found = adding_seeds.undecided({"one": Section("One", findings)}, 3)
    assert [one.text for one in found] == ["waits"]
