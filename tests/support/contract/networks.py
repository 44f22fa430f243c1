"""The contract of a family of networks, and of a factory of one's own: outputs, seeds, sentences."""

from types import ModuleType

import pytest
import torch

from contract.opening import arguments, called, check_first_line, check_light
from transferscope import models
from transferscope.errors import UserError
from transferscope.input_shape import Example, picture
from transferscope.models.build import build_network
from transferscope.models.outputs import logits_of

PACKAGE = "transferscope.models.networks"
CLASSES, SIDE = 3, 64
TEXT = Example((12,), "int32", 100)  # what networks of texts are fed


def check_family(module: ModuleType) -> None:
    """The whole contract of a file of `models/networks`."""
    check_form(module)
    ref = f"{called(module, PACKAGE)}:{module.EXAMPLE}"
    try:
        models.check_network_ref(ref)
    except UserError as error:
        if "install" in str(error):
            pytest.skip(str(error))
        raise
    check_network(ref, TEXT if getattr(module, "READS", "images") == "texts" else picture(SIDE))


def check_form(module: ModuleType) -> None:
    check_first_line(module)
    check_light(module)
    assert arguments(module.check) == ["name"] and arguments(module.build)[:2] == ["name", "classes"]
    with pytest.raises(UserError):
        models.check_network_ref(f"{called(module, PACKAGE)}:")
    with pytest.raises(UserError, match="no_such_network"):
        module.build("no_such_network", CLASSES)


def check_network(ref: str, like: Example | None = None) -> None:
    """Any reference, such as ``my_lab.nets:build``: as many outputs as classes, random only by seed, trainable.

    It is fed inputs like `like`, by default pictures.
    """
    models.check_network_ref(ref)
    net, again, other = (build_network(ref, CLASSES, seed=seed) for seed in (0, 0, 1))
    first, second, third = net.state_dict(), again.state_dict(), other.state_dict()
    assert first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)
    assert any(not torch.equal(first[name], third[name]) for name in first), "another seed, another start"
    out = logits_of(net.train()((like or picture(SIDE)).example(4)), 4)
    assert out.shape == (4, CLASSES)
    out.square().mean().backward()
    assert any(p.grad is not None and p.grad.any() for p in net.parameters())
