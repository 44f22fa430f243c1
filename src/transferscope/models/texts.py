"""Classifiers of texts: networks of transformers that are handed token numbers alone, and pooling over real tokens.

Numbers below 0 are padding: the mask is made here, so that one tensor (texts, tokens) is one batch everywhere.
"""

import inspect
from typing import Any

import torch
from torch import Tensor, nn

from transferscope.errors import UserError

POOLINGS = ("mean", "first")


def as_keywords(tokens: Tensor, padding: int) -> dict[str, Tensor]:
    """A batch (b, tokens) int64 as the library takes it: tokens, those below 0 as `padding`, and the mask."""
    real = tokens >= 0
    return {"input_ids": tokens.masked_fill(~real, padding), "attention_mask": real.long()}


class Keywords:
    """A forward pre-hook (`with_kwargs`) that hands a network of the library its only input by keywords."""

    def __init__(self, padding: int) -> None:
        self.padding = padding

    def __call__(self, net: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return ((), {**kwargs, **as_keywords(args[0], self.padding)}) if args else None


class Pooled(nn.Module):
    """An encoder with one linear layer on the mean of its last states over real tokens, or on the first of them.

    The encoder goes by the name that the library gives it (`bert`), the layer is `classifier`.
    """

    def __init__(self, encoder: nn.Module, pooling: str, classes: int) -> None:
        super().__init__()
        config: Any = encoder.config
        self.base_model_prefix = str(encoder.base_model_prefix)
        self.config, self.pooling = config, pooling
        self.add_module(self.base_model_prefix, encoder)
        usual: float = getattr(config, "dropout", 0.0)
        self.dropout = nn.Dropout(getattr(config, "hidden_dropout_prob", usual))
        self.classifier = nn.Linear(config.hidden_size, classes)
        nn.init.normal_(self.classifier.weight, std=getattr(config, "initializer_range", 0.02))
        nn.init.zeros_(self.classifier.bias)

    def embedding(self, tokens: Tensor) -> Tensor:
        """The pooled states (b, width) of texts (b, tokens) int64."""
        encoder = self.get_submodule(self.base_model_prefix)
        said = as_keywords(tokens, _padding(encoder))
        states: Tensor = encoder(**said).last_hidden_state
        if self.pooling == "first":
            return states[:, 0]
        mask = said["attention_mask"].unsqueeze(-1).to(states.dtype)
        return torch.sum(states * mask, 1) / mask.sum(1).clamp(min=1)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits (b, classes)."""
        logits: Tensor = self.classifier(self.dropout(self.embedding(tokens)))
        return logits


def classifier(auto: Any, config: Any, pooling: str | None, classes: int) -> nn.Module:
    """The network of a configuration: the library's own classifier (of its class `auto`), or with `pooling` ours."""
    if pooling is None:
        net: nn.Module = auto.from_config(config)
        net.register_forward_pre_hook(Keywords(_padding(net)), with_kwargs=True)
        return net
    if pooling not in POOLINGS:
        raise UserError(f"network.options.pooling: '{pooling}' is none of {', '.join(POOLINGS)}.")
    from transformers import AutoModel

    library: Any = AutoModel
    known = inspect.signature(library._model_mapping[type(config)]).parameters
    own = {"add_pooling_layer": False} if "add_pooling_layer" in known else {}
    return Pooled(library.from_config(config, **own), pooling, classes)


def _padding(net: nn.Module) -> int:
    """The token that the network takes for padding."""
    found = getattr(net.config, "pad_token_id", None)
    return found if isinstance(found, int) and found >= 0 else 0
