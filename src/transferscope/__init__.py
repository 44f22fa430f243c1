"""transferscope: what did pretraining give this network on these images, and where in the network does it sit?"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transferscope.probes.align import align
    from transferscope.probes.average import average
    from transferscope.probes.basin import basin
    from transferscope.probes.criticality import criticality
    from transferscope.probes.distance import distance
    from transferscope.probes.grams import grams
    from transferscope.probes.layerwise import layerwise_barrier
    from transferscope.probes.line_barrier import line_barrier
    from transferscope.probes.mistakes import mistakes
    from transferscope.probes.neighbours import neighbours, procrustes
    from transferscope.probes.path import path
    from transferscope.probes.penultimate import penultimate
    from transferscope.probes.plane import plane
    from transferscope.probes.predictions import predictions
    from transferscope.probes.result import load
    from transferscope.probes.rewind import rewind
    from transferscope.probes.similarity import similarity, similarity_matrix
    from transferscope.probes.spectrum import spectrum
    from transferscope.probes.transferability import transferability
    from transferscope.probes.wise import wise_ft

__version__ = "0.2.0"

# Public name: the module it lives in, imported when the name is first used, so that `import transferscope` stays light.
_HOME = {
    "align": "probes.align",
    "average": "probes.average",
    "basin": "probes.basin",
    "criticality": "probes.criticality",
    "distance": "probes.distance",
    "grams": "probes.grams",
    "layerwise_barrier": "probes.layerwise",
    "line_barrier": "probes.line_barrier",
    "load": "probes.result",
    "mistakes": "probes.mistakes",
    "neighbours": "probes.neighbours",
    "path": "probes.path",
    "penultimate": "probes.penultimate",
    "plane": "probes.plane",
    "predictions": "probes.predictions",
    "procrustes": "probes.neighbours",
    "rewind": "probes.rewind",
    "similarity": "probes.similarity",
    "similarity_matrix": "probes.similarity",
    "spectrum": "probes.spectrum",
    "transferability": "probes.transferability",
    "wise_ft": "probes.wise",
}

__all__ = [
    "__version__",
    "align",
    "average",
    "basin",
    "criticality",
    "distance",
    "grams",
    "layerwise_barrier",
    "line_barrier",
    "load",
    "mistakes",
    "neighbours",
    "path",
    "penultimate",
    "plane",
    "predictions",
    "procrustes",
    "rewind",
    "similarity",
    "similarity_matrix",
    "spectrum",
    "transferability",
    "wise_ft",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'transferscope' has no attribute '{name}'")
    return getattr(import_module(f"transferscope.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
