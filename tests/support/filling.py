"""A state dict copied into a network, and written to a file: what several tests of weights need."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor, nn

from transferscope.models.load_report import Loaded
from transferscope.models.loading import fit


def load_into(
    net: nn.Module,
    state: Mapping[str, Tensor],
    *,
    head: tuple[str, ...],
    min_share: float = 0.9,
    allow: Iterable[str] = (),
) -> Loaded:
    """Copy `state` into the body of `net`; the head keeps its values. Errors as for `fit`."""
    found, loaded = fit(net, state, head=head, min_share=min_share, allow=allow)
    net.load_state_dict(found, strict=False)
    return loaded


def save_state(state: Mapping[str, Tensor], path: Path) -> None:
    """Write a `.safetensors` file whose bytes depend on names and values only; tied tensors go under each name."""
    plain = {name: state[name].detach().cpu().contiguous().clone() for name in sorted(state)}
    save_file(plain, path)
