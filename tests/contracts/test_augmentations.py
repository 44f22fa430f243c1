"""What every file of `tasks/augmentations/` promises (`contract.augmentations`)."""

import importlib

import pytest
from contract import augmentations as contract

from transferscope.tasks import augmentations

SURE = {"random_erasing": {"p": 1.0}, "vertical_flip": {"p": 0.9}, "trivial_augment": {"fill": 99}}


@pytest.mark.parametrize("name", augmentations.names())
def test_augmentation(name: str) -> None:
    contract.check_augmentation(importlib.import_module(f"{contract.PACKAGE}.{name}"), **SURE.get(name, {}))
