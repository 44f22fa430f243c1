"""Print the tables of docs/statistics.md on seeds, images, pairs, many findings and absence.

    python tests/calibration/tables_over_seeds.py [deciding] [images] [pairs] [many] [absence] [--repetitions 10000]

All five take about twelve minutes on one core, nearly all of it for the images.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from calibrated import NOISES, deciding, gains, many, margins, pairs

from transferscope.measures.deciding import fixed, sequential
from transferscope.measures.repeated_looks import false_verdicts


def row(*cells: object) -> None:
    print("| " + " | ".join(str(cell) for cell in cells) + " |")


def head(*cells: str) -> None:
    print()
    row(*cells)
    row(*["---"] * len(cells))


def percent(share: float) -> str:
    return f"{100 * share:.1f}"


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def of_deciding(repetitions: int) -> None:
    effects = (0.0, 1.0, 1.5, 2.0, 3.0, 6.0)
    designs = {
        "3 fixed": fixed(3),
        "6 fixed": fixed(6),
        "8 fixed": fixed(8),
        "3 to 8": sequential(3, 8),
        "3 to 6": sequential(3, 6),
        "3 to 12": sequential(3, 12),
        "3, then 6 by hand": fixed(3).raised(6),
    }
    head("seeds", "level of the last look", *(f"effect {effect:g}" for effect in effects))
    for name, design in designs.items():
        found = [deciding.decided(design, effect, "normal", repetitions, rng()) for effect in effects]
        level = f"{design.level(design.looks[-1]):.4f}"
        row(name, level, *(f"{percent(share)} ({seeds:.1f})" for share, _, seeds in found))
    head("seeds", *(f"{kind} noise" for kind in NOISES))
    for name, design in designs.items():
        row(name, *(percent(deciding.decided(design, 0.0, kind, repetitions, rng())[0]) for kind in NOISES))
    head("looks at every count", "plain 95% intervals err in", "level of each look that holds 5%")
    for first, last in ((3, 6), (3, 8), (3, 12), (3, 20), (3, 30), (6, 12)):
        looks = range(first, last + 1)
        plain = percent(false_verdicts(looks, [0.05] * len(looks)))
        row(f"{first} to {last}", f"{plain}%", f"{sequential(first, last).level(last):.4f}")
    head("levels of 3 to 8", *(f"effect {effect:g}" for effect in effects))
    looks = list(range(3, 9))
    for name, power in (("all the same", 0.0), ("rising with n", 1.0), ("falling with n", -1.0)):
        levels = scaled(looks, power)
        found = [deciding.with_levels(looks, levels, effect, repetitions, rng()) for effect in effects]
        row(name, *(f"{percent(share)} ({seeds:.1f})" for share, seeds in found))


def scaled(looks: list[int], power: float) -> list[float]:
    """Levels in proportion to n^power that together err in 5%."""
    low, high = 0.0005, 0.05
    for _ in range(40):
        middle = (low + high) / 2
        levels = [middle * (n / 3) ** power for n in looks]
        low, high = (middle, high) if false_verdicts(looks, levels) < 0.05 else (low, middle)
    return levels


def of_images(repetitions: int) -> None:
    rules = list(gains.RULES.values())
    head("setting", "seeds", "images", *(f"{name}: covers, finds 8 points" for name in gains.RULES))
    for setting in gains.SETTINGS:
        gain = gains.gain_of(setting, 8)
        for n in (3, 6, 10, 20):
            for images in (100, 300, 1000):
                none = gains.shares(rules, gains.drawing(setting, 0.0, n, images, "normal"), 0.0, repetitions, 0)
                some = gains.shares(rules, gains.drawing(setting, gain, n, images, "normal"), 0.08, repetitions, 1)
                both = zip(none, some, strict=True)
                row(setting.name, n, images, *(f"{percent(a[0])}, {percent(b[1])}" for a, b in both))
    levels = {n: sequential(3, 8).level(n) for n in sequential(3, 8).looks}
    head("3 to 8 seeds, setting", "images", *(f"{name}: errs, finds 8 points (seeds)" for name in gains.RULES))
    for setting in gains.SETTINGS:
        gain = gains.gain_of(setting, 8)
        for images in (100, 300, 1000):
            cells = []
            for rule in rules:
                error, _ = gains.looked_at(rule, levels, setting, 0.0, images, repetitions, 0)
                share, seeds = gains.looked_at(rule, levels, setting, gain, images, repetitions, 1)
                cells.append(f"{percent(error)}, {percent(share)} ({seeds:.1f})")
            row(setting.name, images, *cells)
    head("noise of runs, both matter", "seeds", "images", *(f"{name}: covers 8 points" for name in gains.RULES))
    setting = gains.SETTINGS[1]
    for kind in NOISES[1:]:
        gain = gains.gain_of(setting, 8)
        true = gains.truth(setting, gain, kind)
        for n in (3, 10):
            found = gains.shares(rules, gains.drawing(setting, gain, n, 300, kind), true, repetitions, 2)
            row(kind, n, 300, *(percent(one[0]) for one in found))


def of_pairs(repetitions: int) -> None:
    for title, settings, ways in (
        ("one arm", [*pairs.SETTINGS, "distances"], {"all pairs": pairs.all_pairs, "chained": pairs.chained_pairs}),
        ("two kinds that share runs", list(pairs.SETTINGS), {"leaving out seeds jointly": pairs.kinds}),
    ):
        head(title, "seeds", *(f"{way}, {kind}: covers (half)" for way in ways for kind in NOISES))
        for setting in settings:
            for n in (3, 4, 6, 10):
                found = [
                    pairs.held(draw(n, setting, kind), repetitions, 0) for draw in ways.values() for kind in NOISES
                ]
                row(setting, n, *(f"{percent(share)} ({half:.2f})" for share, half in found))


def of_many(repetitions: int) -> None:
    head("effects", "seeds", "common part", "noise", "Holm errs", "plain intervals err", "Holm finds the real ones")
    for effects in ([0.0] * 5, [0.0] * 4 + [3.0], [0.0, 0.0, 3.0, 3.0, 3.0]):
        for n in (3, 6):
            for shared in (0.0, 0.7):
                for kind in NOISES[:2]:
                    found = many.decided(effects, n, shared, kind, repetitions, rng())
                    real = percent(found[2]) if any(effects) else "-"
                    row(f"{sum(e == 0 for e in effects)} of 5 are 0", n, shared, kind, *map(percent, found[:2]), real)


def of_absence(repetitions: int) -> None:
    effects = (0.0, 0.5, 1.0, 1.5, 2.0)
    told = [f"effect {effect:g}: within, beyond" for effect in effects]
    head("deviation of a seed", "seeds", "noise", *told)
    for spread in (0.3, 0.6):
        for n in (3, 6, 10):
            for kind in NOISES:
                found = [margins.outcomes(effect, spread, n, kind, False, repetitions, rng()) for effect in effects]
                row(spread, n, kind, *(f"{percent(one['within'])}, {percent(one['beyond'])}" for one in found))
    head("3 to 8 seeds, deviation of a seed", "noise", *told)
    for spread in (0.3, 0.6):
        for kind in NOISES:
            found = [margins.over_looks(sequential(3, 8), e, spread, kind, repetitions, rng()) for e in effects]
            row(spread, kind, *(f"{percent(one['within'])}, {percent(one['beyond'])}" for one in found))


PARTS = {"deciding": of_deciding, "images": of_images, "pairs": of_pairs, "many": of_many, "absence": of_absence}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", default=list(PARTS), help=", ".join(PARTS))
    parser.add_argument("--repetitions", type=int, default=10_000)
    given = parser.parse_args()
    for part in given.parts:
        PARTS[part](given.repetitions)
