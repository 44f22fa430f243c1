"""What pretraining is worth in labels: how many images the random arm needs for the score of a pretrained one."""

import polars as pl

from transferscope import answers, charts
from transferscope.analyses._shared import contrasts, gains, phrases
from transferscope.measures.power_law import Worth, worth
from transferscope.section import Chart, Finding

ARMS = ("random", "pretrained")


def of(arm: str, images: int) -> pl.Expr:
    """The runs of an arm on a number of images."""
    return (pl.col("arm") == arm) & (pl.col("images") == images)


def by_budget(runs: pl.DataFrame, level: float = 0.95) -> dict[int, Worth]:
    """For every number of images, how many the random arm needs for the pretrained arm's score (see `power_law`).

    Taken over the seeds that have the random arm at every number of images and the pretrained one at this number.
    """
    curve = runs.filter(pl.col("arm") == "random").pivot("images", index="seed", values="test_metric")
    curve = curve.drop_nulls().sort("seed")
    sizes = sorted(int(name) for name in curve.columns if name != "seed")
    found, best = {}, answers.metric(str(runs["metric"][0])).best
    for images in runs["images"].unique().sort().to_list():
        tuned = runs.filter(of("pretrained", images)).select("seed", "test_metric")
        both = curve.join(tuned, on="seed", maintain_order="left")
        if both.is_empty() or len(sizes) < 2:
            continue
        errors = best - both.select([str(size) for size in sizes]).to_numpy()
        if (read := worth(sizes, errors, best - both["test_metric"].to_numpy(), level)) is not None:
            found[int(images)] = read
    return found


def findings(target: str, runs: pl.DataFrame, worths: dict[int, Worth]) -> list[Finding]:
    """The worth of every number of images (see `by_budget`), inside the data and beyond it."""
    return [*_inside(target, runs, worths), *_beyond(target, runs, worths)]


def _inside(target: str, runs: pl.DataFrame, worths: dict[int, Worth]) -> list[Finding]:
    """ "Pretraining is worth N labels", for every budget where the random arm gets there."""
    found = []
    most, error = max(runs["images"].to_list()), answers.metric(str(runs["metric"][0])).error
    level = "errs as little as" if error else "scores as high as"
    for images, read in worths.items():
        if read.size is None:
            continue
        text = (
            f"On {target}, fine-tuning on {images:,} labelled images {level} training from scratch on about "
            f"{read.size:,.0f}"
        )
        if read.size > images * 1.005:
            times = read.size / images
            text += f": pretraining is worth {_labels(read.size - images)} ({times:z.1f} times as many)."
        elif read.high is not None and read.high < images * 0.995:
            text += ": pretraining is worth no labels there."
        else:
            text += ": pretraining is not seen to be worth any labels there, which does not show that it is worth none."
        least = min(runs.filter(pl.col("arm") == "random")["images"].to_list())
        if read.seeds > 1 and (read.low is None or read.high is None):
            begins = f"below the {least:,} images tried first" if read.low is None else f"at {read.low:,.0f}"
            ends = f"beyond the {most:,} there are" if read.high is None else f"at {read.high:,.0f}"
            text = text.removesuffix(".") + f"; its interval begins {begins} and ends {ends}."
        low, high = (read.low, read.high) if read.low is not None and read.high is not None else (None, None)
        found.append(Finding(text, read.size, low, high, read.seeds, "labelled images from scratch"))
    return found


def _labels(count: float) -> str:
    """A number of labels above 0 in words, to two digits."""
    digits = max(0, len(f"{count:z.0f}") - 2)
    said = max(1, round(round(count / 10**digits) * 10**digits))
    return f"about {said:,} more label{'s' if said != 1 else ''}"


def _beyond(target: str, runs: pl.DataFrame, worths: dict[int, Worth]) -> list[Finding]:
    """The budgets at which the random arm never gets there, and those at which fewer images than tried would do."""
    found = []
    random = runs.filter(pl.col("arm") == "random")
    if random.is_empty():
        return []
    least, most = (int(f(random["images"].to_list())) for f in (min, max))
    unit = phrases.unit(runs["metric"][0])
    if beyond := [images for images, read in worths.items() if read.side == "beyond"]:
        few, whole = runs.filter(of("pretrained", beyond[0])), runs.filter(of("random", most))
        points = gains.difference(few, whole, "test_metric")
        text = (
            f"On {target}, what pretraining is worth lies beyond the data for {budgets(beyond)}: on average training "
            f"from scratch does not get there with all {most:,} images"
        )
        if points is not None:
            gap = points.interval()
            text += f" (fine-tuning on {beyond[0]:,} against scratch on {most:,}"
            text += ")." if gap.excludes() else ", a difference that is not told from none)."
            found.append(gains.with_images(contrasts.finding(text, gap, unit), gap))
        else:
            found.append(Finding(f"{text}."))
    if below := [images for images, read in worths.items() if read.side == "below"]:
        better = "better" if answers.metric(str(runs["metric"][0])).error else "higher"
        text = (
            f"On {target}, with {budgets(below)} the pretrained arm scores no {better} than the random arm is expected "
            f"to with {least:,}, the fewest tried."
        )
        found.append(Finding(text))
    return found


def budgets(counts: list[int]) -> str:
    """Numbers of images in a sentence."""
    return f"{phrases.listed([f'{count:,}' for count in counts])} labelled images"


def unfitted(target: str, worths: dict[int, Worth]) -> list[str]:
    """A note where the random arm's curve could not be fitted."""
    if all(read.fitted for read in worths.values()):
        return []
    return [
        f"On {target} the random arm does not follow a power law; the labels it needs are read off straight lines "
        f"between the numbers of labels tried (over their logarithm)."
    ]


def drawn(target: str, worths: dict[int, Worth]) -> list[Chart]:
    """The labels needed from scratch, where that lies inside the data."""
    rows = [
        {"budget": f"{images:,}", "needed": read.size, "low": read.low or read.size, "high": read.high or read.size}
        for images, read in worths.items()
        if read.size is not None
    ]
    if not rows:
        return []
    spec = charts.dots(
        pl.DataFrame(rows),
        "budget",
        "needed",
        low="low",
        high="high",
        bar=True,
        category_title="labels with pretraining",
        value_title="labels needed from scratch for the same score",
    )
    caption = "Read off the random arm's learning curve. Rules: 95% intervals, where they lie inside the data."
    return [Chart(f"{target}-worth", f"Labels needed from scratch on {target}", spec, caption)]
