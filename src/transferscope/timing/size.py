"""How large the weights of a network are, for the disk that runs will take where nothing has been run or timed."""

from pathlib import Path

from transferscope.memo import Memo


def weights_bytes(network: str, memo: Path) -> int:
    """Bytes of the weights of a network, built once (with ten outputs) and remembered. UserError where it cannot be."""
    sizes = Memo(memo / "sizes.json")
    known = sizes.read().get(network)
    if not isinstance(known, int):
        from transferscope.models.build import build_network

        tensors = build_network(network, 10, seed=0).state_dict().values()
        known = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
        sizes.put({network: known})
    return known
