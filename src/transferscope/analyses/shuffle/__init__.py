"""Shuffle: how much of the gain needs features, and how much survives where only the pixels' statistics are left.

Every image is cut into blocks of b x b pixels, and the blocks are moved: one fixed permutation for each seed and block
size, the same for all images, training and test. Small blocks destroy every shape a pretrained network could recognise
and keep colours and contrasts; "channels" moves every single value of the image, across colours too. Both arms are
trained on the shuffled images, without augmentation, and so are the unshuffled runs they are compared with. (Neyshabur,
Sedghi and Zhang 2020, section 3.1, figures 1 and 3.)

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
from typing import Annotated, Any

import polars as pl
from pydantic import BeforeValidator, Field

from transferscope import analyses
from transferscope.analyses._shared import contrasts, gains, outcomes, phrases
from transferscope.analyses._shared.parts import Parts, by_target
from transferscope.analyses.shuffle.card import card
from transferscope.analyses.shuffle.drawn import drawn, summary_table
from transferscope.analyses.shuffle.examples import examples, patches, strips
from transferscope.analyses.shuffle.results import CHANNELS, WHOLE, Shuffled, gathered
from transferscope.engine.step import Step
from transferscope.engine.table import ResultTable
from transferscope.errors import UserError
from transferscope.measures.intervals import Interval
from transferscope.models.anatomy import patch_side
from transferscope.section import Finding, Section
from transferscope.strict import as_tuple
from transferscope.study import Study
from transferscope.study.schema import Arms, Seeds
from transferscope.tasks import inputs

TITLE = "Shuffled images: shapes or statistics"
DESTROYED = 2  # pixels: in blocks up to this size no shape is left to be seen


def _block(value: Any) -> Any:
    if value != CHANNELS and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise ValueError("a block is a number of pixels, at least 1, or 'channels'")
    return value


Block = Annotated[Any, BeforeValidator(_block), "whole number ≥ 1", "`channels`"]
Blocks = Annotated[tuple[Block, ...], BeforeValidator(as_tuple), Field(min_length=1)]


class Options(analyses.Options):
    """How images are shuffled, and which runs are trained on them."""

    blocks: Blocks | None = None
    """Sides of the shuffled blocks in pixels, which divide the images' side, and `channels`, which moves single values
    across pixels and colours; null for some sizes from 1 up, with the side of the network's patches if it has such."""
    per_image: bool = False
    """Whether the blocks of every image move in their own way, which is harder, and not in one way for all."""
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
    blocks, arms = sizes(fitting, what, options, patch), _arms(study, options)
    seeds = options.seeds or study.seeds
    how = study.preprocessing()
    own: dict[str, Any] = {"per_image": True} if options.per_image else {}
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
        said.findings += [*_drop(of), *_surviving(of), *_speed(of)]
        said.cards += card(of)
        said.charts += drawn(of)
        said.tables.append(summary_table(of))
        said.notes += of.warnings()
        kept.append(of.runs.select("seed", gains.column("final")))
    if not said.tables:
        return Section(TITLE, pictures=strips(table), notes=["No run has finished yet."])
    said.notes += patches(table.rows)
    if options.per_image:
        said.notes.append("Every image was shuffled in its own way here; in the paper all share one permutation.")
    every = pl.concat(kept)
    basis = (
        f"{gains.basis(every)} {outcomes.SPEED} A relative drop counts as a difference, to first order; the share of "
        "the gain that survives has its interval over seeds. Training and test images are shuffled alike, and never "
        "augmented."
    )
    return said.section(TITLE, basis, strips(table))


def _drop(of: Shuffled) -> list[Finding]:
    """Claim 2: the relative drop on whole images minus that at the smallest blocks where both arms learn."""
    small = next((b for b in of.sizes if not of.lost(b) and of.drop(b) is not None), None)
    if of.drop(WHOLE) is None or small is None or (both := of.drops(WHOLE, small)) is None:
        return []
    large, little = both
    change = large.minus(little).interval()
    smallest = "" if small == of.sizes[0] else ", the smallest at which both arms learn"
    text = (
        f"On {of.target}, the relative drop of the final test {of.word} without pretraining is "
        f"{round(float(large.values.mean()))}% on whole {of.things} and {round(float(little.values.mean()))}% "
        f"{of.at(small)}{smallest}"
    )
    if not of.clear:
        text += f"; the gain on whole {of.things} is not clear."
        return [gains.told(contrasts.finding(text, change, "points of the drop"), change)]
    says = _words(change, "the gain shrinks with the shapes", "the gain grows as the shapes vanish")
    return [gains.told(contrasts.judged(f"{text}: {says}.", change, "points of the drop", 2, [change]), change)]


def _surviving(of: Shuffled) -> list[Finding]:
    """The share of the gain on whole images that is left at each block size."""
    whole = of.pairs(WHOLE, "final").with_columns(gain=pl.col("pretrained") - pl.col("random"))
    if not of.clear or (whole["gain"] <= 0).any():
        return []
    shares: dict[str, Interval] = {}
    for block in of.sizes:
        both = whole.join(of.pairs(block, "final"), on="seed", suffix="_left").sort("seed")
        if not both.is_empty():
            shares[block] = outcomes.share(
                (both["pretrained_left"] - both["random_left"]).to_numpy(), both["gain"].to_numpy()
            )
    if not shares:
        return []
    small, least = next(iter(shares.items()))
    others = [f"{share.mean:z.0f}% {of.at(block)}" for block, share in shares.items() if block != small]
    text = (
        f"On {of.target}, of the gain of {100 * contrasts.average(whole['gain']):z.1f} {of.unit} on whole {of.things}, "
        f"{least.mean:z.0f}% survives {of.at(small)}{f' ({phrases.listed(others)})' if others else ''}"
    )
    if lost := of.lost(small):
        text += f", where the {phrases.listed(lost)} {'arm is' if len(lost) == 1 else 'arms are'} at chance"
    elif least.low is not None and not least.excludes(0):
        text += ", which these seeds do not tell from nothing"
    elif int(small) <= DESTROYED and least.mean > 0:
        text += ": so much needs no shapes, low-level statistics carry it"
    return [contrasts.finding(f"{text}.", least, "percent of the gain")]


def _speed(of: Shuffled) -> list[Finding]:
    """Claim 3: the gap in optimisation speed at the smallest blocks, and where values move across channels."""
    found = []
    whole = of.gap(WHOLE, "speed")
    for block in [*of.sizes[:1], *(b for b in of.blocks if b == CHANNELS)]:
        gap, both = of.gap(block, "speed"), of.pairs(block, "speed")
        if gap is None:
            continue
        text = (
            f"On {of.target}, {of.at(block)}, the training {of.word} averaged over the epochs is "
            f"{contrasts.average(both['pretrained']):z.1%} with pretraining and "
            f"{contrasts.average(both['random']):z.1%} from scratch"
        )
        text += f" (on whole {of.things} the difference is {whole.mean:+z.1f} {of.unit})" if whole is not None else ""
        if block.isdigit() and int(block) > DESTROYED:
            found.append(contrasts.finding(f"{text}, but blocks of this size still show shapes.", gap, of.unit))
            continue
        says = _words(gap, "pretraining speeds training up with no shape to reuse", "pretraining slows training down")
        if block.isdigit():
            found.append(contrasts.judged(f"{text}: {says}.", gap, of.unit, 3, [gap]))
        else:
            found.append(contrasts.finding(f"{text}: {says}.", gap, of.unit))
    return found


def _words(effect: Interval, above: str, below: str) -> str:
    """What an effect says: `above` 0, `below` 0, or nothing while its interval holds 0."""
    if not effect.excludes(0):
        return f"that {above} is not shown"
    return above if effect.mean > 0 else below
