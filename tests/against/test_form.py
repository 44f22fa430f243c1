"""Files of published numbers: the paper's own, and what is wrong with anybody's, in one sentence."""

from functools import cache
from pathlib import Path
from typing import Any

import pytest
from publishing import DROP, file

from transferscope import against
from transferscope.against.quantities import QUANTITIES
from transferscope.errors import UserError


def group(**changes: Any) -> dict[str, Any]:
    score = {"place": "figure 2", "quantity": "final", "unit": "%", "tag": "read", "tolerance": 0.5}
    return {**score, "values": [{"target": "a", "arm": "random", "value": 61.5}], **changes}


@cache
def paper() -> against.Published:
    """The file that comes with the project, read once."""
    return against.read("paper")


def of_the_paper(place: str, quantity: str, **cell: Any) -> list[tuple[float, str]]:
    """The value and tag of the paper's numbers at a place whose cell is as said."""
    return [
        (one.value, group.tag)
        for group in paper().tables
        for one in group.values
        if (group.place, group.quantity) == (place, quantity)
        and all(getattr(one, key) == said for key, said in cell.items())
    ]


def test_the_paper_holds_what_its_tables_print() -> None:
    """Numbers copied from the tables by another way than the file was made: whole rows, and their sums."""
    assert of_the_paper("table 2", "distance", target="real", pair="P-T & P-T") == [(193.45, "printed")]
    assert of_the_paper("table 1", "cka", pair="RI-T & RI-T", layer="layer4") == [(0.0424, "printed")]
    drops = {t: [v for v, _ in of_the_paper("figure 1", "relative_drop", target=t)] for t in ("real", "quickdraw")}
    assert drops["real"] == [16, 9, 3, 12, 31, 34, 45, 45, 52, 45, 52, 45, 42]
    assert sum(drops["quickdraw"]) == 415 and len(drops["quickdraw"]) == 13
    assert of_the_paper("figure 4", "middle", target="real", pair="P-T & P-T") == [(79.3, "read")]
    assert of_the_paper("definition 3.1", "epsilon", target="clipart") == [(0.0054, "told")]
    rewound = [value for value, _ in of_the_paper("figure 5", "rewound", arm="random")]
    assert len(rewound) == 38 and min(rewound) == 0.507


def test_printed_drops_and_read_scores_of_the_paper_agree() -> None:
    """Where bars are long enough to be read, the drop that follows from both is the printed one."""
    for target in ("real", "clipart", "quickdraw"):
        for block in ("8", "16", "32", "56", "112", "whole"):
            (tuned, _), (scratch, _) = (
                of_the_paper("figure 1", "shuffled", target=target, arm=arm, block=block)[0]
                for arm in ("pretrained", "random")
            )
            printed, _ = of_the_paper("figure 1", "relative_drop", target=target, block=block)[0]
            off = 100 * (0.5 / tuned + 0.5 * scratch / tuned**2) + 0.5  # half a point each, and the drop's own rounding
            assert abs(100 * (tuned - scratch) / tuned - printed) <= off + 1, (target, block)


def test_every_quantity_of_the_paper_is_there_and_every_claim_but_that_on_mistakes() -> None:
    tables = paper().tables
    assert {one.quantity for one in tables} == set(QUANTITIES)
    assert {one.claim for one in tables} == {1, 2, 3, 5, 6, 7, 8, 9, 10}


@pytest.mark.parametrize(
    ("tables", "more", "said"),
    [
        ([group(quantity="finals")], {}, "'finals' is none; did you mean 'final'?"),
        ([group(unit="")], {}, "unit: final is a score; write one of %, share"),
        ([{**DROP, "unit": "%"}], {}, "relative_drop is not a score; leave it out"),
        ([group(values=[{"target": "a", "value": 61.5}])], {}, "a number of 'final' needs 'arm', and the one of a"),
        ([group(values=[{"target": "a", "arm": "random", "layer": "fc", "value": 6}])], {}, "'final' has no 'layer'"),
        ([group(values=[{"target": "b", "arm": "random", "value": 6}])], {}, "speaks of 'b', which is no target"),
        ([group(values=[{"target": "a", "arm": "random", "value": 161.5}])], {}, "161.5 is no score in '%'"),
        ([group(values=[{"target": "a", "arm": "random", "value": 0.6}])], {}, "write 'unit: share'"),
        ([group(unit="share")], {}, "61.5 is no score in 'share'"),
        ([group(tag="seen")], {}, "tables.0.tag: input should be 'printed', 'read', 'inferred' or 'told'"),
        ([group(claim=11)], {}, "claim: input should be less than or equal to 10"),
        ([group(colour="red")], {}, "unknown key 'tables.0.colour'"),
        ([group(), group()], {}, "has the one of a, random twice"),
        ([group(values=[{"target": "a", "arm": "random", "value": float("nan")}])], {}, "finite number"),
        ([group(margin=0)], {}, "margin: input should be greater than 0"),
        ([], {"targets": {"a": {"epochs": 0}}}, "targets.a.epochs: a whole number from 1"),
        ([], {"tables": []}, "tables: value should have at least 1 item"),
        ([], {"short": None}, "short: input should be a valid string"),
    ],
)
def test_what_is_wrong_is_one_sentence(tmp_path: Path, tables: list[Any], more: dict[str, Any], said: str) -> None:
    path = file(tmp_path, *tables, **more)
    with pytest.raises(UserError) as told:
        against.read(path)
    sentence = str(told.value)
    assert said.lower() in sentence.lower() and sentence.startswith(path) and "\n" not in sentence, sentence


def test_what_is_no_file_of_numbers(tmp_path: Path) -> None:
    (tmp_path / "list.yaml").write_text("[1, 2]", encoding="utf-8")
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "broken.yaml").write_text("title: [", encoding="utf-8")
    (tmp_path / "large.yaml").write_text("#" * 1_000_001, encoding="utf-8")
    for name, said in (
        ("list.yaml", "a mapping with title"),
        ("bytes.yaml", "no text in UTF-8"),
        ("broken.yaml", "not valid YAML"),
        ("large.yaml", "more than 1,000,000 bytes"),
        ("none.yaml", "there is no such file; give 'paper'"),
        ("", "it is no file"),
    ):
        with pytest.raises(UserError, match=said):
            against.read(str(tmp_path / name))
