"""What a network returns is told apart, and named where it is not a tensor of (samples, outputs)."""

from collections import namedtuple
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
import torch

from transferscope.errors import UserError
from transferscope.models.outputs import answering, logits_of, tensors_of

Y = torch.zeros(4, 3)


def test_a_tensor_of_samples_and_outputs_is_taken_as_it_is() -> None:
    assert logits_of(Y, 4) is Y


OTHER = torch.zeros(4, 7)


@pytest.mark.parametrize(
    "output",
    [
        SimpleNamespace(logits=Y, hidden=OTHER),
        {"logits": Y, "aux": OTHER},
        namedtuple("Out", "logits aux")(Y, OTHER),
        {"out": Y},
        (Y, None, (OTHER, OTHER)),
        [torch.zeros(4, 3, 2, 2), Y, torch.zeros(4)],
        {"loss": torch.zeros(()), "scores": Y},
        (Y, Y),
    ],
)
def test_logits_are_found_by_name_or_where_there_is_but_one_such_tensor(output: object) -> None:
    assert logits_of(output, 4) is Y


def test_every_tensor_is_found_in_what_a_module_returns() -> None:
    @dataclass
    class Out:
        hidden: object
        more: object = None

    assert tensors_of(Out(Y, {"a": [OTHER], "b": 3})) == [Y, OTHER] and tensors_of(SimpleNamespace(x=Y)) == []


@pytest.mark.parametrize(
    ("output", "words"),
    [
        (SimpleNamespace(output=Y, hidden=OTHER), ["SimpleNamespace", "net(x).output"]),
        ({"logits": Y[0], "aux": Y}, ["dict", "'logits', 'aux'", "net(x)['logits']"]),
        ({"out": Y, "aux": OTHER}, ["'out'", "net(x)['out']"]),
        ((Y, OTHER), ["tuple of 2", "(4, 3)", "net(x)[0]"]),
        ([torch.zeros(4, 3, 2, 2), Y, OTHER], ["list of 3", "net(x)[1]"]),
        ((), ["tuple of 0"]),
        (torch.zeros(4), ["shape (4,)", "reshapes"]),
        (torch.zeros(4, 3, 1, 1), ["shape (4, 3, 1, 1)"]),
        (torch.zeros(2, 3), ["shape (2, 3) for 4 samples"]),
        (torch.zeros(4, 0), ["shape (4, 0)"]),
        (torch.zeros(4, 3, dtype=torch.int64), ["int64"]),
        (torch.zeros(4, 3, dtype=torch.complex64), ["complex64"]),
        (None, ["NoneType"]),
        ("yes", ["str"]),
    ],
)
def test_anything_else_is_named_in_one_sentence(output: object, words: list[str]) -> None:
    with pytest.raises(UserError) as refused:
        logits_of(output, 4, "lab.nets:mine")
    said = str(refused.value)
    assert "\n" not in said and said.startswith("network: lab.nets:mine returned")
    assert all(word in said for word in words), said


def test_what_a_network_raises_becomes_one_sentence() -> None:
    x = torch.zeros(4, 3)
    with (
        pytest.raises(UserError, match=r"cannot run on batch 2, float32 \(4, 3\): mat1 and mat2") as refused,
        answering(x, "batch 2"),
    ):
        torch.nn.Linear(5, 2)(x)
    assert "\n" not in str(refused.value)
    with pytest.raises(UserError, match="as it is"), answering(x):
        raise UserError("as it is")
    with pytest.raises(UserError, match="'a'"), answering({"a": x}):
        raise KeyError("a")
