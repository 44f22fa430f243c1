"""Probes on networks of texts: padding counts in no mean and no comparison, and passes start at blocks."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

pytest.importorskip("transformers")
reading = pytest.importorskip("reading")

import transferscope as ts  # noqa: E402
from transferscope.models.blocks import blocks  # noqa: E402
from transferscope.models.build import build_network  # noqa: E402
from transferscope.probes.features.layers import pooled, real_tokens  # noqa: E402
from transferscope.probes.features.penultimate import penultimate  # noqa: E402
from transferscope.probes.passes.entry_points import Passes  # noqa: E402
from transferscope.probes.running import undisturbed  # noqa: E402
from transferscope.registry import joined  # noqa: E402

BERT = joined("transformers:bert", {**reading.BERT, "vocab_size": 30, "pooling": "mean"})


def loud(seed: int) -> nn.Module:
    """A network whose weights are large enough for every token to matter."""
    net = build_network(BERT, 3, seed=seed)
    for tensor in net.parameters():
        if tensor.ndim > 1:
            tensor.data *= 10
    return net.eval()


def batches(width: int, count: int = 6) -> list[Tensor]:
    """Batches of 8 texts of 3 to 10 tokens, filled up to `width`."""
    draw = np.random.default_rng(0)
    found = []
    for _ in range(count):
        x = torch.full((8, width), -1)
        for row in x:
            length = int(draw.integers(3, 11))
            row[:length] = torch.from_numpy(draw.integers(0, 30, length))
        found.append(x)
    return found


@pytest.mark.parametrize("pool", ["mean", "token", pytest.param(lambda f: f[:, :3].flatten(1), id="own")])
def test_similarity_is_the_same_whatever_the_padding(pool: str | Callable[[Tensor], Tensor]) -> None:
    a, b = loud(0), loud(1)
    tight, wide = (ts.similarity(a, b, batches(width), pool=pool).matrix for width in (10, 24))
    assert tight.shape == (4, 4) and np.isfinite(tight).all()
    np.testing.assert_allclose(tight, wide, atol=1e-4)  # float32: sums in another order


def test_every_value_of_padding_is_nought() -> None:
    a, b = loud(0), loud(1)
    tight, wide = (ts.similarity(a, b, batches(width)).matrix for width in (10, 24))
    np.testing.assert_allclose(tight, wide, atol=1e-4)


def test_the_mean_is_that_of_real_tokens() -> None:
    x = torch.tensor([[3, 4, -1, -1], [5, 6, 7, 8]])
    features = torch.arange(16.0).reshape(2, 4, 2)
    real = real_tokens(x)
    assert real is not None
    assert pooled(features, "mean", real=real).tolist() == [[1.0, 2.0], [11.0, 12.0]]
    assert pooled(features, None, real=real)[0, 2:].abs().sum() == 0
    assert pooled(features, "token", real=real).tolist() == [[0.0, 1.0], [8.0, 9.0]]
    for plain in (x.clamp(min=0), x.float(), torch.randn(2, 3, 4, 4)):
        assert real_tokens(plain) is None


def test_what_goes_into_a_head_for_every_token_is_averaged_over_real_ones() -> None:
    class Late(nn.Module):
        """A head on every token, averaged after it."""

        def __init__(self) -> None:
            super().__init__()
            self.words, self.head = nn.Embedding(30, 4), nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            real = (x >= 0).unsqueeze(-1)
            return (self.head(self.words(x.clamp(min=0))) * real).sum(1) / real.sum(1)

    net = Late()
    found = penultimate(net, batches(24)[:1])
    x = batches(24)[0]
    own = [net.words(row[row >= 0]).mean(0).detach().numpy() for row in x]
    np.testing.assert_allclose(found.features, np.stack(own), atol=1e-6)


def test_passes_start_at_the_blocks_of_an_encoder() -> None:
    """Every block but the first spares those before it; each start was tried against a whole pass."""
    net = loud(0)
    cut = blocks(net)
    with undisturbed([net], "eval"), torch.no_grad():
        passes = Passes(net, cut, batches(24)[0][:2], "float32", 0)
    assert not passes.why, passes.why
    assert [len(passes.entries[block.name].part.skipped) > 0 for block in cut] == [False, True, True, True]
