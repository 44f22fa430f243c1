"""Training low-rank adapters: what moves, what is kept, and a run that is killed; the adapters are of tests/models."""

import pytest
import torch
from safetensors.torch import load_file

from transferscope.data import open_squares
from transferscope.engine.artifact import Artifact
from transferscope.errors import UserError
from transferscope.models import adapters
from transferscope.models.build import build_network
from transferscope.models.precision import prepare
from transferscope.probes.answers.predictions import logits
from transferscope.tasks import inputs

HOW = {"epochs": 2, "trainable": "lora:2", "lr": 0.2, "evaluate": 40}


def test_a_product_of_low_rank_is_added_and_nothing_else_of_the_body_moves(fit) -> None:
    folder, rows = fit("run", **HOW)
    start, end = (load_file(folder / f"{name}.safetensors") for name in ("epoch-0000", "final"))
    assert start.keys() == end.keys() == build_network("toy.nets:tiny", 10, seed=0).state_dict().keys()
    moved = {name for name in end if not torch.equal(start[name], end[name])}
    assert moved == {"0.weight", "3.weight", "9.weight", "9.bias"}, "statistics of batch norm stay"
    for name in ("0.weight", "3.weight"):
        values = torch.linalg.svdvals((end[name] - start[name]).flatten(1).double())
        assert values[2] < 1e-5 * values[0] < values[1], "rank 2, up to float32"
    assert rows[-1]["train_loss"] < rows[0]["train_loss"]
    assert rows != fit("whole", **{**HOW, "trainable": "all"})[1]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_what_is_scored_is_what_is_kept(fit, digits, precision) -> None:
    """The network of its own names, without adapters, gives the very logits that were scored."""
    folder, _ = fit("run", **HOW, precision=precision, ema=0.5)
    table = open_squares(digits.path)
    for name in ("final", "best", "ema"):
        net = prepare(build_network("toy.nets:tiny", 10, seed=3), "cpu")
        net.load_state_dict(load_file(folder / f"{name}.safetensors"))
        fed = inputs.Fed((0.5,) * 3, (0.5,) * 3)
        found = inputs.load("images").evaluation(
            table, table.rows["test"], table.labels, fed, batch_size=256, device="cpu"
        )
        kept = load_file(folder / f"predictions-{name}.safetensors")["test"]
        assert torch.equal(torch.from_numpy(logits(net, (x for x, *_ in found), precision=precision)), kept), name


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_a_run_killed_anywhere_ends_in_the_same_bytes(unbroken, optimizer) -> None:
    unbroken("_batch", 5, 10, **{**HOW, "optimizer": optimizer, "lr": 0.02, "ema": 0.9, "layer_decay": 0.8})


def test_an_epoch_is_that_of_plain_torch(fit, digits) -> None:
    """One epoch by SGD, the weight W + 2 B A written out and differentiated by torch itself."""
    how = {"epochs": 1, "trainable": "lora:2", "lr": 0.1, "schedule": "constant", "mixup": 0.0, "label_smoothing": 0.0}
    folder, _ = fit("run", **how, network="toy.nets:lite", augment=None, momentum=0.0, weight_decay=0.0)
    table = open_squares(digits.path)
    start = load_file(folder / "epoch-0000.safetensors")
    net = build_network("toy.nets:lite", 10, seed=0).eval()  # it has no dropout, and its statistics stay
    net.load_state_dict(start)
    example = torch.zeros(1, 3, 12, 12)
    drawn = adapters.attach(net, 2, 10, example=example, seed=0)
    factors = {place.name: [f.detach().clone().requires_grad_() for f in place.factors] for place in drawn.places}
    drawn.remove()
    head = {name: start[name].clone().requires_grad_() for name in ("17.weight", "17.bias")}
    from transferscope.data.batches import Batches, Normalisation

    batches = Batches(
        table,
        table.rows["train"],
        table.labels,
        size=12,
        batch_size=32,
        seed=0,
        epoch=1,
        normalisation=Normalisation((0.5,) * 3, (0.5,) * 3),
    )
    for x, y, _ in batches:
        weights = {name: start[name] + 2 * (b @ a).view_as(start[name]) for name, (a, b) in factors.items()}
        out = torch.func.functional_call(net, {**start, **weights, **head}, (x,))
        trained = [*head.values(), *(f for pair in factors.values() for f in pair)]
        for p, g in zip(trained, torch.autograd.grad(torch.nn.functional.cross_entropy(out, y), trained), strict=True):
            p.data -= 0.1 * g
    end = load_file(folder / "final.safetensors")
    for name, (a, b) in factors.items():
        torch.testing.assert_close(
            end[name], (start[name] + 2 * (b @ a).view_as(start[name])).detach(), rtol=1e-3, atol=1e-5
        )
    torch.testing.assert_close(end["17.weight"], head["17.weight"].detach(), rtol=1e-3, atol=1e-5)


def test_a_rank_that_is_none_is_one_sentence(fit, digits) -> None:
    assert isinstance(digits, Artifact)
    with pytest.raises(UserError, match="trainable: 'lora:0' should be lora:R"):
        fit("run", **{**HOW, "trainable": "lora:0"})
