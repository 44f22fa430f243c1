"""Tokens of texts: a table of their numbers, cut once by a tokenizer, and blocks of them moved.

A text is a row of token numbers; short ones are filled up behind with `PADDING`, which is the number of no token.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from transferscope import extras
from transferscope.data.listing import Listing
from transferscope.data.pictures.survey import refuse_unreadable
from transferscope.data.table import Table, Which, content_of, divided, write
from transferscope.errors import UserError, legible
from transferscope.input_shape import Example
from transferscope.random_streams import stream

if TYPE_CHECKING:
    from tokenizers import Tokenizer

TOKENS, TOKENIZER = "tokens.npy", "tokenizer.json"
PADDING = -1
AT_ONCE = 256  # texts that are tokenised together
FILLED = 0.5  # of all places: from there on padding is spoken of


@dataclass(frozen=True, eq=False, kw_only=True)
class Tokens(Table):
    """Texts of one target: `tokens` is int32 (n, longest), mapped from disk, `lengths` (n,) without padding.

    The first `lead` and the last `tail` tokens of every text are the tokenizer's own (`[CLS]`, `[SEP]`); `vocabulary`
    is the number of tokens that there are.
    """

    tokens: np.ndarray
    lengths: np.ndarray
    vocabulary: int
    lead: int
    tail: int

    def example(self, which: Which) -> Example:
        return Example(self.tokens.shape[1:], "int32", self.vocabulary)

    def words(self, rows: np.ndarray, most: int = 24, moved: Mapping[str, Any] | None = None) -> list[str]:
        """What the network reads first of the texts of `rows` (b,): `most` tokens of each, put together again; with
        `moved`, arguments of `blocks_moved`, after its blocks were moved."""
        read = reader(self.folder / TOKENIZER)
        found = self.tokens[rows] if moved is None else blocks_moved(self, rows, **moved)
        own = [row[self.lead : length - self.tail] for row, length in zip(found, self.lengths[rows], strict=True)]
        said = [legible(read.decode([int(token) for token in row[:most]])) for row in own]
        return [text + (" ..." if len(row) > most else "") for text, row in zip(said, own, strict=True)]


def reader(file: Path) -> "Tokenizer":
    """The tokenizer in a file, which neither cuts nor fills up. UserError where there is none, or no library."""
    tokenizers: Any = extras.load("tokenizers", "hf", "input: text")
    try:
        found: Tokenizer = tokenizers.Tokenizer.from_file(str(file))
    except Exception as error:  # of the library's own, which has one kind for all
        why = (str(error).splitlines() or [""])[0].rstrip(".")
        raise UserError(
            f"'{file}' is no tokenizer ({why}); give a tokenizer.json, as save_pretrained writes."
        ) from None
    found.no_padding()
    found.no_truncation()
    return found


def build(
    listing: Listing,
    folder: Path,
    *,
    tokenizer: Path,
    max_length: int,
    split: tuple[float, float, int],
    tell: Callable[..., None],
) -> None:
    """Write the tokens of a listing's texts into `folder`, `max_length` at most of each, `split` as by `divided`.

    Of longer texts the first tokens are kept, and the tokenizer's own at the end. UserError when more than 1% of the
    texts cannot be read, and for a `max_length` that leaves no room for a token.
    """
    read = reader(tokenizer)
    lead, tail = _own(read, max_length)
    count = len(listing.names)
    held = np.full((count, max_length), PADDING, np.int32)
    whole, failed = np.zeros(count, np.int64), dict[int, str]()
    for index, found in _encoded(read, listing, failed):
        whole[index] = len(found)
        kept = found if len(found) <= max_length else [*found[: max_length - tail], *found[len(found) - tail :]]
        held[index, : len(kept)] = kept
        if len(found) == lead + tail:
            failed[index] = "it holds no token"
        if index % AT_ONCE == 0:
            tell(done=index, total=count)
    skipped = [{"name": listing.names[index], "reason": failed[index]} for index in sorted(failed)]
    refuse_unreadable([(one["name"], one["reason"]) for one in skipped], count, f"texts of '{listing.ref}'")
    kept_rows = np.setdiff1d(np.arange(count), [*failed])
    held, whole = held[kept_rows], whole[kept_rows]
    longest = int((held != PADDING).sum(1).max())
    np.save(folder / TOKENS, held[:, :longest])
    (folder / TOKENIZER).write_bytes(tokenizer.read_bytes())
    content = {"kind": "text", **divided(listing, kept_rows, split), "skipped": skipped}
    content |= {"vocabulary": read.get_vocab_size(), "lead": lead, "tail": tail, "max_length": max_length}
    content["notes"] = [*content["notes"], told_lengths(whole, max_length)]
    write(folder, listing.labels[kept_rows], content)


def told_lengths(whole: np.ndarray, max_length: int) -> str:
    """Sentences on how long texts are, of which `whole` (n,) is the length in tokens, on how many are cut, and on what
    is filled up."""
    median, most, cut = int(np.median(whole)), int(whole.max()), int((whole > max_length).sum())
    said = f"Texts are {median:,} tokens long in the median, {most:,} at most"
    said += f"; {cut:,} of {len(whole):,} are longer than {max_length} and are cut there." if cut else "; none is cut."
    filled = 1 - np.minimum(whole, max_length).mean() / min(most, max_length)
    if filled > FILLED:
        said += f" {filled:.0%} of what probes compute is padding: a smaller input.text.max_length is quicker."
    return said


def open_tokens(folder: Path) -> Tokens:
    """What `build` wrote."""
    said = content_of(folder)
    tokens = np.load(folder / TOKENS, mmap_mode="r")
    own = {name: said[name] for name in ("vocabulary", "lead", "tail")}
    return Tokens.open(folder, tokens=tokens, lengths=(tokens != PADDING).sum(1), **own)


def lengths_of(
    listing: Listing, tokenizer: Path, max_length: int, places: list[int]
) -> tuple[np.ndarray, dict[int, str]]:
    """The lengths in tokens (n,) of the texts at some places of a listing, and why others of them cannot be read."""
    read = reader(tokenizer)
    lead, tail = _own(read, max_length)
    failed: dict[int, str] = {}
    found = {index: len(tokens) for index, tokens in _encoded(read, listing, failed, places)}
    failed |= {index: "it holds no token" for index, length in found.items() if length == lead + tail}
    return np.array([length for index, length in found.items() if index not in failed], np.int64), failed


def _own(read: "Tokenizer", max_length: int) -> tuple[int, int]:
    """How many tokens of its own a tokenizer puts before and behind a text."""
    mask = read.encode("a").special_tokens_mask
    lead = next((place for place, own in enumerate(mask) if not own), len(mask))
    tail = next((place for place, own in enumerate(reversed(mask)) if not own), 0)
    if max_length <= lead + tail:
        raise UserError(
            f"input.text.max_length: {max_length} leaves no room beside the tokenizer's own {lead + tail}; give more."
        )
    return lead, tail


def _encoded(
    read: "Tokenizer", listing: Listing, failed: dict[int, str], places: list[int] | None = None
) -> Iterator[tuple[int, list[int]]]:
    """The place and the tokens of every text; those that cannot be read are noted down in `failed`."""
    places = [*range(len(listing.names))] if places is None else places
    for start in range(0, len(places), AT_ONCE):
        texts: dict[int, str] = {}
        for index in places[start : start + AT_ONCE]:
            try:
                texts[index] = listing.load(index)
            except Exception as error:  # whatever a loader raises
                failed[index] = legible(str(error) or type(error).__name__)
        for index, found in zip(texts, read.encode_batch([*texts.values()]), strict=True):
            yield index, found.ids


def blocks_moved(table: Tokens, rows: np.ndarray, block: Any, *, seed: int, per_example: bool = False) -> np.ndarray:
    """The tokens of `rows` (b,), int32 (b, longest), with blocks of `block` tokens moved inside each text.

    The tokenizer's own tokens and the padding stay in their places; the last block of a text may be shorter. The order
    follows from (seed, block, length of the text) alone, and with `per_example` from the row too: a block of 1 leaves
    a bag of words. UserError for a block that is no number of tokens.
    """
    if isinstance(block, bool) or not isinstance(block, int) or block < 1:
        raise UserError(f"A block of texts is a number of tokens, at least 1, and not '{block}'.")
    found = np.array(table.tokens[rows])
    for place, row in enumerate(rows):
        own = slice(table.lead, int(table.lengths[row]) - table.tail)
        more = (int(row),) if per_example else ()
        found[place, own] = found[place, own][block_order(own.stop - own.start, block, *more, seed=seed)]
    return found


def block_order(length: int, block: int, *own: int, seed: int) -> np.ndarray:
    """The order (length,) of the tokens of a text once its blocks are moved: a function of the arguments alone."""
    parts = np.array_split(np.arange(length), np.arange(block, length, block))
    moved = stream(seed, "blocks", length, block, *own).permutation(len(parts))
    return np.concatenate([parts[place] for place in moved]) if len(parts) else np.arange(0)
