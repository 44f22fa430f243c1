"""The card of shuffled images: does the gain need shapes, or do low-level statistics do?"""

from transferscope.analyses._shared import cards, readings
from transferscope.analyses.shuffle.results import Shuffled
from transferscope.section import Card


def card(of: Shuffled) -> list[Card]:
    """The gain on whole images less that on the smallest blocks where both arms learn, in points, paired by seed."""
    small = next((block for block in of.sizes if not of.lost(block)), None)
    if small is None:
        return []
    if (lost := of.left(small)) is None:
        return []
    where, one = of.at(small), of.things == "texts"
    what = "The order of words" if one else "Shapes"
    return [
        cards.answer(
            "Why",
            of.target,
            lost,
            f"{of.unit} of the gain lost {where}",
            yes=f"{what} {'matters' if one else 'matter'}: cut {where}, {of.things} gain less from pretraining",
            no=f"{what} {'does' if one else 'do'} not matter: cut {where}, {of.things} gain more from pretraining",
            unsure=f"{what} {'is' if one else 'are'} not told from {of.left_over} ({of.things} cut {where})",
        )
    ]


def lost_gains(of: Shuffled) -> list[readings.Reading]:
    """The same for every size of blocks at which both arms learn, the smallest first."""
    found, metric = [], str(of.runs["metric"][0])
    for block in of.sizes:
        if not of.lost(block):
            asks = f"Gain in final test {of.word} that is lost {of.at(block)}"
            found += readings.of_scores(f"shuffle/{block}", "Why", asks, of.target, metric, *of.lost_gain(block))
    return found
