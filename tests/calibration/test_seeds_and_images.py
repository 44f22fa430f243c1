"""Coverage of a gain on new seeds and new images, and its power beside the other formulas, on the very code."""

import pytest
from calibrated import gains, within

from transferscope.measures.deciding import sequential

pytestmark = pytest.mark.slow
REPETITIONS = 1200


@pytest.mark.parametrize("setting", gains.SETTINGS, ids=lambda one: one.name)
@pytest.mark.parametrize(("n", "images"), [(3, 100), (3, 1000), (6, 300), (10, 100), (20, 100)])
@pytest.mark.parametrize("kind", ["normal", "skewed"])
def test_new_seeds_and_images_are_covered(setting, n, images, kind):
    gain = gains.gain_of(setting, 8)
    draw = gains.drawing(setting, gain, n, images, kind)
    repetitions = REPETITIONS // (1 if n * images < 1500 else 2)
    ((share, _, _),) = gains.shares([gains.ours], draw, gains.truth(setting, gain, kind), repetitions, 0)
    assert 0.93 - within(0.93, repetitions, 3) < share < 0.999


def test_seeds_alone_do_not_cover():
    draw = gains.drawing(gains.SETTINGS[0], 0.0, 20, 100, "normal")
    ((share, _, _),) = gains.shares([gains.over_seeds], draw, 0.0, 400, 0)
    assert share < 0.85


@pytest.mark.parametrize("setting", gains.SETTINGS, ids=lambda one: one.name)
def test_three_seeds_find_eight_points_more_often_than_by_adding_squares(setting):
    draw = gains.drawing(setting, gains.gain_of(setting, 8), 3, 300, "normal")
    added, ours = gains.shares([gains.added, gains.ours], draw, 0.08, REPETITIONS, 0)
    assert ours[1] > added[1] + 0.01  # the same draws


@pytest.mark.parametrize("setting", gains.SETTINGS, ids=lambda one: one.name)
def test_looks_at_three_to_eight_seeds_hold_their_error(setting):
    design, repetitions = sequential(3, 8), 800
    levels = {n: design.level(n) for n in design.looks}
    share, _ = gains.looked_at(gains.ours, levels, setting, 0.0, 300, repetitions, 0)
    assert share < 0.06 + within(0.06, repetitions, 3)
