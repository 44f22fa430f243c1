"""Shuffle: how much of the gain needs features, and how much survives where only the pixels' statistics are left.

Every image is cut into blocks of b x b pixels, and the blocks are moved: one fixed permutation for each seed and block
size, the same for all images, training and test. Small blocks destroy every shape a pretrained network could recognise
and keep colours and contrasts; "channels" moves every single value of the image, across colours too. Both arms are
trained on the shuffled images, without augmentation, and so are the unshuffled runs they are compared with. (Neyshabur,
Sedghi and Zhang 2020, section 3.1, figures 1 and 3.)

How to read it. The relative drop is 100 (P-T - RI-T) / P-T, in percent of the final test metric: where it shrinks
toward small blocks, the gain was carried by features. Optimisation speed is the mean over epochs (without epoch 0) of
the training metric, in eval mode: a gap that stays at 1 pixel cannot come from shapes, so it comes from low-level
statistics, such as the scale of the weights. A run that does no better than chance says nothing: where an arm has not
learnt, its drop is an artefact, and the page names these block sizes. A small drop at small blocks can also mean that
the images are no longer told apart by either arm.
"""

import itertools
from collections.abc import Iterator
from typing import Annotated, Any

import polars as pl
from pydantic import BeforeValidator, Field

from transferscope import analyses
from transferscope.analyses._shared import contrasts, outcomes, phrases
from transferscope.analyses._shared.parts import Parts, by_target
from transferscope.analyses.shuffle.drawn import drawn, summary
from transferscope.analyses.shuffle.examples import examples, strips
from transferscope.analyses.shuffle.results import CHANNELS, WHOLE, Shuffled, at, gathered
from transferscope.engine.step import Step
from transferscope.engine.table import Table
from transferscope.errors import UserError
from transferscope.measures.intervals import Interval, paired_interval, too_few
from transferscope.section import Finding, Section
from transferscope.study import Study
from transferscope.study.schema import Arms, Seeds, as_tuple

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
    across pixels and colours; null for some sizes from 1 up."""
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
    blocks, arms, seeds = sizes(study.image_size, options), _arms(study, options), options.seeds or study.seeds
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
            **own,
        )
        yield {"target": target, "block": None, "arm": None, "seed": None}, look
        for block, arm, seed in itertools.product([None, *blocks], arms, seeds):
            moved = None if block is None else {"block": block, **own}
            run = study.run(target, arm, seed, augment=None, shuffle=moved, **shorter)
            yield {"target": target, "block": WHOLE if block is None else str(block), "arm": arm, "seed": seed}, run


def sizes(image: int, options: Options) -> list[int | str]:
    """The block sizes of images of side `image`, "channels" first, then ascending; the whole image is none of them.

    By default 1, and from 4 on every divisor at least twice the one before. UserError for one that does not divide.
    """
    from transferscope.data.shuffle import block_sizes

    fitting = block_sizes(image)
    if options.blocks is None:
        chosen = [1]
        for b in fitting[:-1]:
            if b >= max(4, 2 * chosen[-1]):
                chosen.append(b)
        return [*chosen]
    for b in options.blocks:
        if b != CHANNELS and b not in fitting:
            raise UserError(
                f"analyses.shuffle.blocks: {b} does not divide images of {image} px; sizes that do: "
                f"{', '.join(map(str, fitting))} (or 'channels')."
            )
    return sorted({b for b in options.blocks if b != image}, key=lambda b: 0 if b == CHANNELS else b)


def _arms(study: Study, options: Options) -> list[str]:
    """The arms to train; UserError for one the study does not have."""
    if options.arms is None:
        return [arm for arm in study.arms if arm in ("random", "pretrained")] or list(study.arms)
    outcomes.known_arms(study, "shuffle", options.arms)
    return list(dict.fromkeys(options.arms))


def section(table: Table, options: Options) -> Section:
    """Final metric, relative drop and optimisation speed against block size; how much of the gain survives."""
    said = Parts()
    seeds: set[int] = set()
    for target, rows in by_target(table.rows):
        of = gathered(target, rows)
        if of is None:
            continue
        said.findings += [*_drop(of), *_surviving(of), *_speed(of)]
        said.charts += drawn(of)
        said.tables.append(summary(of))
        said.notes += of.warnings()
        seeds |= set(of.runs["seed"])
    if not said.tables:
        return Section(TITLE, pictures=strips(table), notes=["No run has finished yet."])
    if options.per_image:
        said.notes.append("Every image was shuffled in its own way here; in the paper all share one permutation.")
    if few := too_few(len(seeds)):
        said.notes.append(few)
    basis = f"{outcomes.FINAL} {outcomes.SPEED} Training and test images are shuffled alike, and never augmented."
    return said.section(TITLE, basis, strips(table))


def _drop(of: Shuffled) -> list[Finding]:
    """Claim 2: the relative drop on whole images minus that at the smallest blocks where both arms learn."""
    whole = of.pairs(WHOLE, "final")
    small = next((b for b in of.sizes if not of.lost(b) and of.drop(b) is not None), None)
    if of.drop(WHOLE) is None or small is None:
        return []
    both = whole.join(of.pairs(small, "final"), on="seed", suffix="_small").sort("seed")
    if both.is_empty():
        return []
    large, little = (100 * (1 - both[f"random{end}"] / both[f"pretrained{end}"]) for end in ("", "_small"))
    change = paired_interval(large, little)
    smallest = "" if small == of.sizes[0] else ", the smallest at which both arms learn"
    text = (
        f"On {of.target}, the relative drop of the final test {of.word} without pretraining is "
        f"{round(contrasts.average(large))}% on whole images and {round(contrasts.average(little))}% "
        f"{at(small)}{smallest}"
    )
    if not of.clear:
        return [contrasts.told(f"{text}; the gain on whole images is not clear.", change, "points of the drop")]
    says = _words(change, "the gain shrinks with the shapes", "the gain grows as the shapes vanish")
    return [contrasts.judged(f"{text}: {says}.", change, "points of the drop", 2, [change])]


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
    others = [f"{share.mean:z.0f}% {at(block)}" for block, share in shares.items() if block != small]
    text = (
        f"On {of.target}, of the gain of {100 * contrasts.average(whole['gain']):z.1f} {of.unit} on whole images, "
        f"{least.mean:z.0f}% survives {at(small)}{f' ({phrases.listed(others)})' if others else ''}"
    )
    if lost := of.lost(small):
        text += f", where the {phrases.listed(lost)} {'arm is' if len(lost) == 1 else 'arms are'} at chance"
    elif least.low is not None and not least.excludes(0):
        text += ", which these seeds do not tell from nothing"
    elif int(small) <= DESTROYED and least.mean > 0:
        text += ": so much needs no shapes, low-level statistics carry it"
    return [contrasts.told(f"{text}.", least, "percent of the gain")]


def _speed(of: Shuffled) -> list[Finding]:
    """Claim 3: the gap in optimisation speed at the smallest blocks, and where values move across channels."""
    found = []
    whole = of.gap(WHOLE, "speed")
    for block in [*of.sizes[:1], *(b for b in of.blocks if b == CHANNELS)]:
        gap, both = of.gap(block, "speed"), of.pairs(block, "speed")
        if gap is None:
            continue
        text = (
            f"On {of.target}, {at(block)}, the training {of.word} averaged over the epochs is "
            f"{contrasts.average(both['pretrained']):z.1%} with pretraining and "
            f"{contrasts.average(both['random']):z.1%} from scratch"
        )
        text += f" (on whole images the difference is {whole.mean:+z.1f} {of.unit})" if whole is not None else ""
        if block.isdigit() and int(block) > DESTROYED:
            found.append(contrasts.told(f"{text}, but blocks of this size still show shapes.", gap, of.unit))
            continue
        says = _words(gap, "pretraining speeds training up with no shape to reuse", "pretraining slows training down")
        if block.isdigit():
            found.append(contrasts.judged(f"{text}: {says}.", gap, of.unit, 3, [gap]))
        else:
            found.append(contrasts.told(f"{text}: {says}.", gap, of.unit))
    return found


def _words(effect: Interval, above: str, below: str) -> str:
    """What an effect says: `above` 0, `below` 0, or nothing while its interval holds 0."""
    if not effect.excludes(0):
        return f"that {above} is not shown"
    return above if effect.mean > 0 else below
