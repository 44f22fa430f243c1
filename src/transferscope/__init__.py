"""transferscope: what did pretraining give this network on these images, and where in the network does it sit?"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from transferscope.version import VERSION as __version__

if TYPE_CHECKING:
    from transferscope.notebook import Study, compare
    from transferscope.probes.answers.mistakes import mistakes
    from transferscope.probes.answers.predictions import predictions
    from transferscope.probes.blocks.criticality import criticality
    from transferscope.probes.blocks.layerwise import layerwise_barrier
    from transferscope.probes.blocks.rewind import rewind
    from transferscope.probes.features.grams import grams
    from transferscope.probes.features.neighbours import neighbours, procrustes
    from transferscope.probes.features.penultimate import penultimate
    from transferscope.probes.features.similarity import similarity, similarity_matrix
    from transferscope.probes.features.transferability import transferability
    from transferscope.probes.inputs.weights import read_weights
    from transferscope.probes.result import load
    from transferscope.probes.walks.average import average
    from transferscope.probes.walks.basin import basin
    from transferscope.probes.walks.line_barrier import line_barrier
    from transferscope.probes.walks.path import path
    from transferscope.probes.walks.plane import plane
    from transferscope.probes.walks.wise import wise_ft
    from transferscope.probes.weights.align import align
    from transferscope.probes.weights.distance import distance
    from transferscope.probes.weights.spectrum import spectrum

# Public name: the module it lives in, imported when the name is first used, so that `import transferscope` stays light.
_HOME = {
    "Study": "notebook",
    "align": "probes.weights.align",
    "average": "probes.walks.average",
    "basin": "probes.walks.basin",
    "compare": "notebook",
    "criticality": "probes.blocks.criticality",
    "distance": "probes.weights.distance",
    "grams": "probes.features.grams",
    "layerwise_barrier": "probes.blocks.layerwise",
    "line_barrier": "probes.walks.line_barrier",
    "load": "probes.result",
    "mistakes": "probes.answers.mistakes",
    "neighbours": "probes.features.neighbours",
    "path": "probes.walks.path",
    "penultimate": "probes.features.penultimate",
    "plane": "probes.walks.plane",
    "predictions": "probes.answers.predictions",
    "procrustes": "probes.features.neighbours",
    "read_weights": "probes.inputs.weights",
    "rewind": "probes.blocks.rewind",
    "similarity": "probes.features.similarity",
    "similarity_matrix": "probes.features.similarity",
    "spectrum": "probes.weights.spectrum",
    "transferability": "probes.features.transferability",
    "wise_ft": "probes.walks.wise",
}

__all__ = [
    "Study",
    "__version__",
    "align",
    "average",
    "basin",
    "compare",
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
    "read_weights",
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
