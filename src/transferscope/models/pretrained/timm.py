"""`timm`: the weights that timm publishes for a `timm:NAME` network, from the local cache or else the hub."""

import os
import socket
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import getproxies

from transferscope.errors import UserError
from transferscope.models.networks import parted
from transferscope.models.options import called

if TYPE_CHECKING:
    from torch import Tensor

CONNECT_SECONDS = 1.5
FILES = ("model.safetensors", "pytorch_model.bin")


def check(rest: str, network: str | None) -> None:
    """UserError unless the network is one of timm's; nothing is looked up."""
    if network is None:
        if rest:
            raise UserError(f"write 'timm' alone, and the tag in the network, e.g. timm:resnet18.{rest}.")
        return
    scheme, name, _ = parted(network)
    if scheme != "timm":
        raise UserError(f"'timm' are weights for a timm:NAME network, not {network}; use file:PATH.")
    if rest:
        raise UserError(f"write 'timm' alone, and the tag in the network: timm:{name.split('.')[0]}.{rest}.")


def _config(network: str) -> Any:
    import timm

    from transferscope.models.networks.timm import known_name

    name = known_name(parted(network)[1])
    try:
        cfg = timm.get_pretrained_cfg(name)
    except RuntimeError as error:
        raise UserError(f"weights: timm has no such weights for {network} ({error}).") from error
    if cfg is None:
        raise UserError(f"weights: timm publishes no weights for {network}; use file:PATH.")
    return cfg


def _reachable(url: str) -> bool:
    """Whether a connection opens within CONNECT_SECONDS; a name lookup that hangs counts as no."""
    target = urlsplit(getproxies().get("https") or url)
    opened: list[bool] = []

    def connect() -> None:
        try:
            port = target.port or (443 if target.scheme == "https" else 80)
            with socket.create_connection((target.hostname or "", port), timeout=CONNECT_SECONDS):
                opened.append(True)
        except OSError:
            pass

    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(CONNECT_SECONDS)
    return bool(opened)


def locate(network: str) -> Path:
    """The weight file of a timm network: in the local cache, else downloaded.

    Fails within two seconds (UserError) when it is not cached and the hub is switched off or cannot be reached.
    """
    import huggingface_hub as hub
    from huggingface_hub import constants

    cfg = _config(network)
    if not cfg.hf_hub_id:
        raise UserError(f"weights: timm publishes no hub weights for {network}; use file:PATH.")
    names = (cfg.hf_hub_filename, *FILES) if cfg.hf_hub_filename else FILES
    for name in names:
        cached = hub.try_to_load_from_cache(cfg.hf_hub_id, name)
        if isinstance(cached, str):
            return Path(cached)
    missing = f"weights: those of {network} ({cfg.hf_hub_id}) are not in the cache {constants.HF_HUB_CACHE}"
    otherwise = "download them on a machine with a network or use file:PATH"
    if constants.HF_HUB_OFFLINE or os.environ.get("HF_HUB_OFFLINE", "0").upper() in {"1", "ON", "YES", "TRUE"}:
        raise UserError(f"{missing} and HF_HUB_OFFLINE is set; {otherwise}.")
    if not _reachable(constants.ENDPOINT):
        raise UserError(f"{missing} and {constants.ENDPOINT} cannot be reached; {otherwise}.")
    reason: Exception | None = None
    for name in names:
        try:
            return Path(hub.hf_hub_download(cfg.hf_hub_id, name))
        except Exception as error:  # the client raises a dozen kinds: HTTP, disk, missing file, gated repository
            reason = error
    raise UserError(f"{missing} and could not be downloaded ({type(reason).__name__}); {otherwise}.") from reason


def files(rest: str, network: str) -> list[Path]:
    """The cached file."""
    return [locate(network)]


def fingerprint(rest: str, network: str) -> str:
    """Hash of the published tensors; downloads them where they are not cached."""
    path = locate(network)
    if path.suffix == ".npz":
        import hashlib

        return hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()
    from transferscope.models.checkpoint import read_state
    from transferscope.models.weights import fingerprint_state

    return fingerprint_state(read_state(path))


def describe(rest: str, network: str) -> dict[str, Any]:
    """The preprocessing of timm's own configuration of these weights."""
    cfg = _config(network)
    return {
        "mean": tuple(cfg.mean),
        "std": tuple(cfg.std),
        "interpolation": cfg.interpolation if cfg.interpolation != "random" else "bicubic",
        "source": f"weights of {cfg.hf_hub_id or network} published by timm",
    }


def state(rest: str, network: str) -> "dict[str, Tensor]":
    """The published tensors after timm's own conversion, under the names of the network."""
    import timm

    from transferscope.models.build import seeded
    from transferscope.models.checkpoint import read_state

    path, (_, name, options) = locate(network), parted(network)
    overlay = {"file": str(path)} if path.suffix == ".npz" else {"state_dict": dict(read_state(path))}
    with seeded(0):
        net = called(
            lambda **how: timm.create_model(name, pretrained=True, pretrained_cfg_overlay=overlay, **how),
            timm.create_model,
            options,
            f"timm:{name} with its published weights",
        )
    return {name: tensor.detach() for name, tensor in net.state_dict().items()}
