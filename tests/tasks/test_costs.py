"""Passes of a training run: what is foretold of a probe, whose frozen part may be run once."""

import pytest

from transferscope.tasks import costs

IMAGES = {"train": 100, "val": 20, "test": 40}
SAID = {"fraction": 1.0, "epochs": 10, "first_epoch": 0, "evaluate": "all", "mixup": 0.0, "views": None}
WHOLE = {**SAID, "trainable": "all", "augment": {"flip": True}}
PROBE = {**WHOLE, "trainable": "head"}
ALWAYS, ONCE = 11 * 160 + 2 * 60, 60  # images evaluated: all after every epoch, and what is tested on twice more


@pytest.mark.parametrize(
    ("params", "epochs", "each", "evaluated"),
    [
        (WHOLE, 10, costs.TRAINED, ALWAYS),
        ({**WHOLE, "augment": None}, 10, costs.TRAINED, ALWAYS),
        (PROBE, 10, costs.PROBED, ALWAYS),
        ({**PROBE, "augment": None}, 1, costs.PROBED, ONCE),
        ({**PROBE, "augment": None, "mixup": 0.2}, 10, costs.PROBED, ALWAYS),
        ({**PROBE, "views": 3}, 3, costs.PROBED, ONCE),
        ({**PROBE, "views": 30}, 10, costs.PROBED, ALWAYS),
    ],
)
def test_a_frozen_part_is_counted_once_where_images_come_again(params, epochs, each, evaluated) -> None:
    assert costs.training(params, IMAGES) == pytest.approx(each * epochs * 100 + evaluated)
