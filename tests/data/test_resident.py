"""Images held on a GPU: the same images, sent once, only where they fit."""

import gc

import numpy as np
import pytest
import torch

from transferscope.data import resident
from transferscope.data.augment import CropAndFlip
from transferscope.data.batches import Batches, eval_batches


class Pixels:
    def __init__(self) -> None:
        draw = np.random.default_rng(0)
        self.images = {"train": draw.integers(0, 256, (9, 12, 12, 3), np.uint8)}
        self.images["eval"] = draw.integers(0, 256, (9, 8, 8, 3), np.uint8)
        self.asked = 0

    def gather(self, rows, which):
        return self.images[which][rows]

    def pixels(self, which):
        self.asked += 1
        return self.images[which]


def test_on_a_cpu_nothing_is_held():
    table = Pixels()
    assert resident.resident(table, "eval", "cpu") is None and table.asked == 0
    assert torch.equal(resident.sent(table.images["eval"], "cpu"), torch.from_numpy(table.images["eval"]))


def test_images_are_held_only_where_they_fit(monkeypatch):
    pixels = Pixels().images["train"]
    assert torch.equal(resident._sent_once(pixels, "cpu", pixels.nbytes), torch.from_numpy(pixels))
    assert resident._sent_once(pixels, "cpu", pixels.nbytes - 1) is None
    assert resident._sent_once(None, "cpu", 1e9) is None  # a streamed table has no such array


def test_images_are_sent_once_and_forgotten_with_their_table(monkeypatch):
    monkeypatch.setattr(resident, "_sent_once", lambda pixels, device, room: torch.from_numpy(pixels))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1, 1))
    table = Pixels()
    before = len(resident._held)
    first = resident.resident(table, "eval", "cuda:0")
    assert resident.resident(table, "eval", "cuda:0") is first and table.asked == 1
    assert resident.resident(table, "train", "cuda:0").shape[1] == 12
    assert len(resident._held) == before + 1
    del table
    gc.collect()
    assert len(resident._held) == before


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("fits", [True, False])
def test_batches_on_a_gpu_are_those_on_a_cpu(monkeypatch, fits):
    monkeypatch.setattr(resident, "SHARE", 0.25 if fits else 0.0)
    rows, labels = np.arange(9), np.arange(9)

    def batches(device):
        options = {"table": Pixels(), "rows": rows, "labels": labels, "size": 8, "batch_size": 4, "device": device}
        train = Batches(**options, seed=0, epoch=1, augment=CropAndFlip(), normalisation=None)
        evaluation = eval_batches(options["table"], rows, 4, labels=labels, normalisation=None, device=device)
        return [torch.cat([x.cpu().int() for x, _, _ in part]) for part in (train, evaluation)]

    for on_gpu, on_cpu, tolerance in zip(batches("cuda"), batches("cpu"), (2, 0), strict=True):
        assert (on_gpu - on_cpu).abs().max() <= tolerance
