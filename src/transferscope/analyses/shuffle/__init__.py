"""Shuffle: how much of the gain needs features, and how much survives where only the pixels' statistics are left.

Every image is cut into blocks of b x b pixels, and the blocks are moved: one fixed permutation for each seed and block
size, the same for all images, training and test. Small blocks destroy every shape a pretrained network could recognise
and keep colours and contrasts; "channels" moves every single value of the image, across colours too. Both arms are
trained on the shuffled images, without augmentation, and so are the unshuffled runs they are compared with. (Neyshabur,
Sedghi and Zhang 2020, section 3.1, figures 1 and 3.) Of texts, blocks of b tokens move inside each text, in one order
for all of a length; the tokenizer's own stay in their places, and blocks of 1 leave a bag of words.

How to read it. The relative drop is 100 (P-T - RI-T) / P-T, in percent of the final test metric: where it shrinks
toward small blocks, the gain was carried by features. Intervals of gains and drops are for new trainings and new test
images together. Optimisation speed is the mean over epochs (without epoch 0) of the training metric, in eval mode: a
gap that stays at 1 pixel cannot come from shapes, so it comes from low-level statistics, such as the scale of the
weights. A run that does no better than chance says nothing: where an arm has not learnt, its drop is an artefact, and
the page names these block sizes. A small drop at small blocks can also mean that the images are no longer told apart by
either arm.
"""

import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated, Any, Literal

import polars as pl
from pydantic import BeforeValidator, Field, WithJsonSchema

from transferscope import analyses
from transferscope.analyses._shared import gains, outcomes
from transferscope.analyses._shared.parts import Parts, by_target
from transferscope.analyses.shuffle.card import card, lost_gains
from transferscope.analyses.shuffle.examples import examples, moved_words, patches, strips
from transferscope.analyses.shuffle.figures import drawn, summary_table
from transferscope.analyses.shuffle.findings import findings
from transferscope.analyses.shuffle.results import CHANNELS, WHOLE, gathered
from transferscope.engine.step import Step
from transferscope.engine.table import ResultTable
from transferscope.errors import UserError
from transferscope.models.anatomy import patch_side
from transferscope.section import Section
from transferscope.strict_models import as_tuple
from transferscope.study import Study
from transferscope.study.schema import Arms, Seeds
from transferscope.tasks import inputs

TITLE = "Shuffled images: shapes or statistics"
OF_TEXTS = "Shuffled texts: the order of words or the words alone"


def _block(value: Any) -> Any:
    if value != CHANNELS and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise ValueError("a block is a number of pixels, at least 1, or 'channels'")
    return value


Block = Annotated[
    Any,
    BeforeValidator(_block),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 1}, {"const": CHANNELS}]}),
    "whole number ≥ 1",
    "`channels`",
]
Blocks = Annotated[tuple[Block, ...], BeforeValidator(as_tuple), Field(min_length=1)]


class Options(analyses.Options):
    """How images are shuffled, and which runs are trained on them."""

    blocks: Blocks | None = None
    """Sides of the shuffled blocks in pixels, which divide the images' side, and `channels`, which moves single values
    across pixels and colours; null for some sizes from 1 up, with the side of the network's patches if it has such.
    Of texts tokens, any number of them."""
    per_image: bool = False
    """Whether the blocks of every image move in their own way, which is harder, and not in one way for all."""
    draws: Literal["own", "paper"] = "own"
    """How the order of blocks is drawn: by this project's streams, or, to repeat the paper's runs, by numpy's
    `RandomState(seed + 1234)`, as its code has it (pictures only, one order for all)."""
    seeds: Seeds | None = None
    """The seeds to train, a count or a list; null for the study's."""
    epochs: Annotated[int, Field(ge=1)] | None = None
    """Epochs of every training; null for the study's."""
    arms: Arms | None = None
    """Arms to train; null for the random and the pretrained one."""
    pictures: Annotated[int, Field(ge=0)] = 3
    """Example images shown."""


def plan(study: Study, options: Options) -> Iterator[tuple[dict[str, Any], Step]]:
    """For every target the example images, then a run for each arm and seed, unshuffled and at each block size."""
    fitting, images = _fitting(study), study.input == inputs.USUAL
    patch = patch_side(study.network, study.memo) if images else None
    what = f"images of {study.image_size} px" if images else f"{fitting[-1]} values"
    if study.example.vocabulary is not None:
        _check_blocks(options, fitting[-1])
    blocks, arms = sizes(fitting, what, options, patch), _arms(study, options)
    seeds = options.seeds or study.seeds
    how = study.preprocessing()
    own: dict[str, Any] = {"per_image": True} if options.per_image else {}
    if options.draws == "paper":
        if own or not images:
            raise UserError(
                "analyses.shuffle.draws: the paper moves the blocks of all pictures alike; leave out "
                f"{'per_image' if own else 'the key, the inputs are no pictures'}."
            )
        own = {"published": True}
    shorter: dict[str, Any] = {} if options.epochs is None else {"epochs": options.epochs}
    for target in study.targets:
        look = examples.step(
            data=study.data(target),
            blocks=blocks,
            seed=seeds[0],
            images=options.pictures,
            mean=how["mean"],
            std=how["std"],
            patch=patch,
            **own,
        )
        yield {"target": target, "block": None, "arm": None, "seed": None}, look
        for block, arm, seed in itertools.product([None, *blocks], arms, seeds):
            moved = None if block is None else {"block": block, **own}
            run = study.run(target, arm, seed, augment=None, shuffle=moved, **shorter)
            yield {"target": target, "block": WHOLE if block is None else str(block), "arm": arm, "seed": seed}, run


def _fitting(study: Study) -> list[int]:
    """The sides of blocks that divide an input, ascending, that of the whole last. UserError for a kind without."""
    if (blocks := getattr(study.kind, "blocks", None)) is None:
        raise UserError(
            f"analyses.shuffle: it moves blocks, but inputs of the kind '{study.input}' have none; remove it."
        )
    return list(blocks(study.example))


def _check_blocks(options: Options, most: int) -> None:
    """UserError for blocks that texts of `most` tokens cannot be cut into."""
    for block in options.blocks or ():
        if block == CHANNELS or block > most:
            raise UserError(
                f"analyses.shuffle.blocks: texts are cut into blocks of 1 to {most} tokens; '{block}' is none of them."
            )


def sizes(fitting: list[int], what: str, options: Options, patch: int | None = None) -> list[int | str]:
    """The block sizes out of those that are `fitting` (ascending, the whole input last), "channels" first.

    By default 1, and from 4 on every divisor at least twice the one before, and that of the network's patches (side
    `patch`), if it divides. UserError for one that does not divide.
    """
    if options.blocks is None:
        chosen = [1]
        for b in fitting[:-1]:
            if b >= max(4, 2 * chosen[-1]):
                chosen.append(b)
        return sorted({*chosen, *([patch] if patch in fitting[:-1] else [])})
    for b in options.blocks:
        if b != CHANNELS and b not in fitting:
            raise UserError(
                f"analyses.shuffle.blocks: {b} does not divide {what}; sizes that do: "
                f"{', '.join(map(str, fitting))} (or 'channels')."
            )
    return sorted({b for b in options.blocks if b != fitting[-1]}, key=lambda b: 0 if b == CHANNELS else b)


def _arms(study: Study, options: Options) -> list[str]:
    """The arms to train; UserError for one the study does not have."""
    if options.arms is None:
        return [arm for arm in study.arms if arm in ("random", "pretrained")] or list(study.arms)
    outcomes.known_arms(study, "shuffle", options.arms)
    return list(dict.fromkeys(options.arms))


def section(table: ResultTable, options: Options) -> Section:
    """Final metric, relative drop and optimisation speed against block size; how much of the gain survives."""
    said = Parts()
    kept: list[pl.DataFrame] = []
    for target, rows in by_target(table.rows):
        of = gathered(target, rows)
        if of is None:
            continue
        of = replace(of, runs=gains.with_parts(of.runs, table, ["target", "block", "arm", "seed"]))
        said.findings += findings(of)
        said.cards += card(of)
        said.readings += lost_gains(of)
        said.charts += drawn(of)
        said.tables.append(summary_table(of))
        said.notes += [*of.warnings(), *outcomes.lengths(rows.drop_nulls("arm"), target)]
        kept.append(of.runs.select("seed", gains.column("final")))
    if not said.tables:
        return Section(_title(table), pictures=strips(table), notes=["No run has finished yet."])
    said.notes += patches(table.rows)
    if options.per_image:
        said.notes.append("Every image was shuffled in its own way here; in the paper all share one permutation.")
    every = pl.concat(kept)
    basis = (
        f"{gains.basis(every)} {outcomes.SPEED} A relative drop counts as a difference, to first order; the share of "
        "the gain that survives has its interval over seeds. Training and test images are shuffled alike, and never "
        "augmented."
    )
    said.tables += moved_words(table)
    return said.section(_title(table), basis, strips(table))


def _title(table: ResultTable) -> str:
    """What the section is called: on texts otherwise."""
    things = table.rows["things"].drop_nulls().to_list() if "things" in table.rows.columns else []
    return OF_TEXTS if "texts" in things else TITLE
