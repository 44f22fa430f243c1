"""transferscope: what did pretraining give this network on these images, and where in the network does it sit?"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transferscope.probes.distance import distance
    from transferscope.probes.grams import grams
    from transferscope.probes.mistakes import mistakes
    from transferscope.probes.neighbours import neighbours, procrustes
    from transferscope.probes.predictions import predictions
    from transferscope.probes.result import load
    from transferscope.probes.similarity import similarity, similarity_matrix
    from transferscope.probes.spectrum import spectrum

__version__ = "0.1.0"

# Public name: the module it lives in, imported when the name is first used, so that `import transferscope` stays light.
_HOME = {
    "distance": "probes.distance",
    "grams": "probes.grams",
    "load": "probes.result",
    "mistakes": "probes.mistakes",
    "neighbours": "probes.neighbours",
    "predictions": "probes.predictions",
    "procrustes": "probes.neighbours",
    "similarity": "probes.similarity",
    "similarity_matrix": "probes.similarity",
    "spectrum": "probes.spectrum",
}

__all__ = [
    "__version__",
    "distance",
    "grams",
    "load",
    "mistakes",
    "neighbours",
    "predictions",
    "procrustes",
    "similarity",
    "similarity_matrix",
    "spectrum",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'transferscope' has no attribute '{name}'")
    return getattr(import_module(f"transferscope.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
