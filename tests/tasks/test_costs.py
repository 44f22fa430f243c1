"""Passes of a training run: what is foretold of a probe, whose frozen part may be run once."""

import pytest

from transferscope.tasks import costs

IMAGES = {"train": 100, "val": 20, "test": 40}
SAID = {"fraction": 1.0, "epochs": 10, "first_epoch": 0, "evaluate": "all", "mixup": 0.0, "views": None}
WHOLE = {**SAID, "trainable": "all", "augment": {"flip": True}}
PROBE = {**WHOLE, "trainable": "head"}


@pytest.mark.parametrize(
    ("params", "epochs", "each"),
    [
        (WHOLE, 10, costs.TRAINED),
        ({**WHOLE, "augment": None}, 10, costs.TRAINED),
        (PROBE, 10, costs.PROBED),
        ({**PROBE, "augment": None}, 1, costs.PROBED),
        ({**PROBE, "augment": None, "mixup": 0.2}, 10, costs.PROBED),
        ({**PROBE, "views": 3}, 3, costs.PROBED),
        ({**PROBE, "views": 30}, 10, costs.PROBED),
    ],
)
def test_a_frozen_part_is_counted_once_where_images_come_again(params, epochs, each) -> None:
    evaluated = (epochs + 1) * 160 + 2 * 60
    assert costs.training(params, IMAGES) == each * epochs * 100 + evaluated
