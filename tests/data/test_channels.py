"""Pictures of any number of bands: tables, crops and batches of them are those of every band alone."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from transferscope.data import Target, build, open_listing, open_squares
from transferscope.data.augment import crop_boxes, crop_resize, crop_resize_matmul
from transferscope.data.target import alike, channels_fed
from transferscope.errors import UserError
from transferscope.input_shape import Example
from transferscope.tasks.inputs.images import by_channel

SETTINGS: dict[str, Any] = {"crop": 1.0, "val": 0.2, "test": 0.2, "split_seed": 0, "cores": 1}
PICTURES = np.random.default_rng(0).integers(0, 4096, (16, 40, 30, 6)).astype(np.uint16)


def reference(root: Path, **options: Any) -> str:
    for row, picture in enumerate(PICTURES):
        file = root / "ab"[row // 8] / f"{row % 8}.npy"
        file.parent.mkdir(parents=True, exist_ok=True)
        np.save(file, picture)
    return Target(ref=f"folder:{root}", window=[0, 4095], **options).reference


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
@pytest.mark.parametrize("channels", [[5, 0, 1, 2, 3], [4, 1]])
def test_every_band_is_kept_as_it_would_be_alone(tmp_path: Path, channels: list[int], fit: str) -> None:
    """In the order that the study says, mapped or streamed."""
    how = {**SETTINGS, "train_size": 24, "eval_size": 16, "interpolation": "bicubic", "fit": fit}
    found = {}
    for streamed in (False, True):
        folder = tmp_path / str(streamed)
        build(open_listing(reference(tmp_path / "set", channels=channels)), folder, **how, streamed=streamed)
        table = open_squares(folder)
        assert table.example("eval") == Example((len(channels), 16, 16)) and table.channels == len(channels)
        found[streamed] = table.gather(np.arange(16), "train"), table.gather(np.arange(16), "eval")
        shown = table.pictures(np.array([3]))
        assert shown.shape == (1, 16, 16, 3) and np.array_equal(shown[0, ..., 1], found[streamed][1][3, ..., 1])
    assert all(np.array_equal(a, b) for a, b in zip(found[False], found[True], strict=True))
    for place, band in enumerate(channels):
        build(open_listing(reference(tmp_path / "set", channels=band)), tmp_path / f"band{band}", **how)
        alone = open_squares(tmp_path / f"band{band}")
        assert alone.channels == 3
        for which, pixels in zip(("train", "eval"), found[False], strict=True):
            assert np.array_equal(pixels[..., place], alone.gather(np.arange(16), which)[..., 0])


def test_crops_of_many_channels_are_those_of_each() -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (4, 20, 20, 5), dtype=np.uint8)
    rows = np.arange(4)
    boxes, flips = crop_boxes(rows, seed=0, epoch=1, table_size=20)
    whole = crop_resize(pixels, rows, boxes, flips, 12)
    assert whole.shape == (4, 5, 12, 12) and whole.is_contiguous(memory_format=torch.channels_last)
    for channel in range(5):
        three = crop_resize(np.repeat(pixels[..., channel : channel + 1], 3, axis=3), rows, boxes, flips, 12)
        assert (whole[:, channel].int() - three[:, 0].int()).abs().max() <= 1  # one kernel rounds otherwise
    there = crop_resize_matmul(torch.from_numpy(pixels), boxes, flips, 12)
    assert there.shape == whole.shape and (there.int() - whole.int()).abs().max() <= 2


def test_mean_and_deviation_are_repeated_as_the_weights_are() -> None:
    from transferscope.models.adapt import channels

    weight = torch.arange(3.0).reshape(1, 3, 1, 1)
    repeated = channels(weight, 5).flatten() * 5 / 3
    assert by_channel((0.0, 1.0, 2.0), 5) == tuple(repeated.tolist()) and by_channel((1, 2, 3), 3) == (1, 2, 3)


def test_targets_feed_one_number_of_channels() -> None:
    plain, grey, many = Target(ref="folder:a"), Target(ref="b", channels=4), Target(ref="c", channels=[0, 1, 2, 3])
    assert [channels_fed(target.channels) for target in (plain, grey, many)] == [3, 3, 4]
    alike([plain, grey])
    with pytest.raises(UserError, match="pictures of 3 and of 4 channels; a network takes one number"):
        alike([plain, many])
