"""What a network returns is told apart, and named where it is not a tensor of (samples, outputs)."""

from collections import namedtuple
from types import SimpleNamespace

import pytest
import torch

from transferscope.errors import UserError
from transferscope.models.outputs import answering, logits_of

Y = torch.zeros(4, 3)


def test_a_tensor_of_samples_and_outputs_is_taken_as_it_is() -> None:
    assert logits_of(Y, 4) is Y


@pytest.mark.parametrize(
    ("output", "words"),
    [
        (SimpleNamespace(logits=Y, hidden=Y), ["SimpleNamespace", "net(x).logits"]),
        ({"logits": Y, "aux": Y}, ["dict", "'logits', 'aux'", "net(x)['logits']"]),
        ({"out": Y}, ["'out'", "net(x)['out']"]),
        ((Y, Y), ["tuple of 2", "(4, 3)", "net(x)[0]"]),
        ([torch.zeros(4, 3, 2, 2), Y], ["list of 2", "net(x)[1]"]),
        (namedtuple("Out", "logits aux")(Y, Y), ["Out of 2", "net(x)[0]"]),
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
