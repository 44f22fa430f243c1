"""The contract of a source of weights: what they expect, whose values they are, and the tensors themselves."""

import inspect
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch
from filling import load_into
from safetensors.torch import save_file
from smoke import nets

from contract.opening import arguments, called, check_first_line, check_light
from transferscope import models
from transferscope.errors import UserError
from transferscope.models.build import build_network, head_names
from transferscope.models.pretrained import weights_state

PACKAGE = "transferscope.models.pretrained"
Example = tuple[str, str]  # what follows the colon, and the network that the weights are for


def _file(folder: Path) -> Example:
    save_file(nets.weights(seed=1), folder / "weights.safetensors")
    return str(folder / "weights.safetensors"), "smoke.nets:tiny"


def _transformers(folder: Path) -> Example:
    import hugging

    where = hugging.write(folder / "vit", "vit")
    return str(where), models.settled(f"transformers:{where}", folder)


# Of sources that have no EXAMPLE of their own; None where there is nothing without a download.
MADE: dict[str, Callable[[Path], Example] | None] = {"file": _file, "timm": None, "transformers": _transformers}


def check_weights(module: ModuleType, folder: Path, example: Example | None = None) -> None:
    """The whole contract; `example` is by default the module's EXAMPLE, `folder` an empty one.

    Skipped from where on the example needs a package that is not installed.
    """
    check_form(module)
    check_values(module, folder, example)


def check_form(module: ModuleType) -> None:
    check_first_line(module)
    check_light(module)
    for function in (module.check, module.fingerprint, module.describe, module.state):
        assert arguments(function) == ["rest", "network"] and inspect.getdoc(function)
    with pytest.raises(UserError) as caught:
        models.check_weights_ref(f"{called(module, PACKAGE)}:no such weights", "torchvision:resnet18")
    assert "\n" not in str(caught.value)


def check_values(module: ModuleType, folder: Path, example: Example | None = None) -> None:
    name = called(module, PACKAGE)
    if example is None and name in MADE and not hasattr(module, "EXAMPLE"):
        make = MADE[name]
        if make is None:
            return
        example = make(folder)
    found = example or getattr(module, "EXAMPLE", None)
    assert found, f"give {name} an EXAMPLE: a rest and a network whose weights need no download"
    ref, network = models.absolute_weights(f"{name}:{found[0]}", folder), found[1]
    try:
        models.check_weights_ref(ref, network)
    except UserError as error:
        if "install" in str(error):
            pytest.skip(str(error))
        raise
    how = models.describe_weights(ref, network, folder / "memo")
    assert len(how["mean"]) == len(how["std"]) == 3 and all(value > 0 for value in how["std"])
    assert how["interpolation"] in ("bilinear", "bicubic") and how["source"]
    values = [models.weights_fingerprint(ref, network, memo) for memo in (folder / "memo", folder / "memo", None)]
    assert values[0] and len(set(values)) == 1, "the same values are called the same"
    first, again = weights_state(ref, network), weights_state(ref, network)
    assert first.keys() == again.keys() and all(torch.equal(tensor, again[key]) for key, tensor in first.items())
    net = build_network(network, 3, seed=0)
    assert load_into(net, first, head=head_names(net, 3)).share > 0.9, "they fill the body of that network"
