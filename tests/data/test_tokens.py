"""Tables of tokens: what is kept of a text, what is left out, and blocks of tokens that are moved."""

from pathlib import Path

import numpy as np
import pytest

reading = pytest.importorskip("reading")

from transferscope.data.listing import Listing  # noqa: E402
from transferscope.data.texts import TextCells  # noqa: E402
from transferscope.data.tokens import PADDING, Tokens, block_order, blocks_moved, build, open_tokens, reader  # noqa: E402
from transferscope.errors import UserError  # noqa: E402

CLS, SEP = 2, 3


def table(folder: Path, texts: list[str], max_length: int = 12) -> Tokens:
    listing = Listing(
        names=tuple(f"{place:03d}" for place in range(len(texts))),
        classes=("a", "b"),
        labels=np.arange(len(texts)) % 2,
        load=TextCells(tuple(texts)),
        splits=tuple("train" if place < len(texts) // 2 else "test" for place in range(len(texts))),
        ref="text:x",
        holds="texts",
    )
    where = folder / "base" / "store" / "text"
    where.mkdir(parents=True)
    file = reading.tokenizer(folder / "tokenizer.json")
    build(listing, where, tokenizer=file, max_length=max_length, split=(0.2, 0.2, 0), tell=lambda **_: None)
    return open_tokens(where)


def test_short_texts_are_filled_up_and_long_ones_cut(tmp_path: Path) -> None:
    long = " ".join(["red", "green", "blue"] * 5)
    found = table(tmp_path, ["red", "green blue", long, "stone"] * 6, max_length=8)
    read = reader(tmp_path / "tokenizer.json")
    assert found.tokens.dtype == np.int32 and found.tokens.shape == (24, 8)
    assert found.tokens[1].tolist() == [*read.encode("green blue").ids, *[PADDING] * 4]
    whole = read.encode(long).ids
    assert found.tokens[2].tolist() == [*whole[:7], SEP] and len(whole) == 17
    assert found.lengths[:4].tolist() == [3, 4, 8, 3] and (found.lead, found.tail) == (1, 1)
    assert "17 at most; 6 of 24 are longer than 8 and are cut there." in found.notes[-1]
    assert found.words(np.array([1, 2]), most=4) == ["green blue", "red green blue red ..."]


def test_no_row_is_longer_than_the_longest_text(tmp_path: Path) -> None:
    found = table(tmp_path, ["red", "green blue"] * 12, max_length=100)
    assert found.tokens.shape[1] == 4 and found.example("eval").shape == (4,) and "none is cut" in found.notes[-1]


def test_texts_that_hold_nothing_are_left_out_and_counted(tmp_path: Path) -> None:
    found = table(tmp_path, ["red"] * 150 + [" "] + ["green"] * 49)
    assert len(found) == 199 and found.skipped == (("150", "it is empty"),)
    with pytest.raises(UserError, match=r"20 of 200 texts of 'text:x' \(more than 1%\) cannot be read: '000'"):
        table(tmp_path / "more", ([" "] + ["red"] * 9) * 20)


def test_a_max_length_without_room(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"input.text.max_length: 2 leaves no room beside the tokenizer's own 2"):
        table(tmp_path, ["red"] * 8, max_length=2)


def test_what_is_no_tokenizer(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(UserError, match=r"is no tokenizer .*; give a tokenizer\.json"):
        reader(tmp_path / "tokenizer.json")


@pytest.mark.parametrize("block", [1, 2, 3, 5])
@pytest.mark.parametrize("per_example", [False, True])
def test_blocks_move_inside_each_text(block: int, per_example: bool, tmp_path: Path) -> None:
    texts = [
        "red green blue stone river cloud walks",
        "old new bright",
        "sings",
        "red green blue stone river cloud old",
    ]
    found = table(tmp_path, texts * 4)
    rows = np.arange(16)
    moved = blocks_moved(found, rows, block, seed=3, per_example=per_example)
    assert np.array_equal(moved, blocks_moved(found, rows, block, seed=3, per_example=per_example))
    assert any(not np.array_equal(blocks_moved(found, rows, block, seed=seed), found.tokens) for seed in range(8))
    for row in rows:
        length = found.lengths[row]
        before, after = found.tokens[row], moved[row]
        assert after[0] == CLS and after[length - 1] == SEP and (after[length:] == PADDING).all()
        assert sorted(after) == sorted(before)
        runs = [tuple(before[1 : length - 1][start : start + block]) for start in range(0, length - 2, block)]
        text = after[1 : length - 1].tolist()
        for run in runs:  # every block is still in one piece
            assert any(tuple(text[place : place + len(run)]) == run for place in range(len(text)))
    same = all(np.array_equal(moved[row], moved[row % 4]) for row in rows)
    assert same or per_example
    assert block == 5 or same is not per_example, "each text has an order of its own"


def test_the_order_follows_from_seed_block_and_length_alone() -> None:
    first = block_order(9, 2, seed=0)
    assert sorted(first) == list(range(9)) and np.array_equal(first, block_order(9, 2, seed=0))
    others = [block_order(9, 2, seed=1), block_order(9, 3, seed=0), block_order(9, 2, 5, seed=0)]
    assert not any(np.array_equal(first, other) for other in others)
    assert block_order(3, 7, seed=0).tolist() == [0, 1, 2] and block_order(0, 1, seed=0).tolist() == []


@pytest.mark.parametrize("block", ["channels", 0, True])
def test_blocks_that_are_none(block: object, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="A block of texts is a number of tokens"):
        blocks_moved(table(tmp_path, ["red", "blue"] * 8), np.arange(2), block, seed=0)
