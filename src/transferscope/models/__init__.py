"""Networks, their pretrained weights and the arms a run can start from; importing this package loads no torch.

The cheap checks live here so that a study can be validated and planned at once: `check_network_ref`,
`check_weights_ref`, `check_arm`, and `weights_fingerprint`, `describe_weights` for the keys of steps.
The work is in `build` (refs to networks), `weights`, `blocks`, `inits` (the arms) and `norm`.
"""

from transferscope.models.arms import Arm, check_arm, parse_arm
from transferscope.models.networks import (
    check_network_ref,
    in_words,
    meant_for,
    network_names,
    said,
    settled,
    written,
)
from transferscope.models.pretrained import (
    PLAIN_PREPROCESSING,
    absolute_weights,
    check_weights_ref,
    describe_weights,
    own_weights,
    weights_fingerprint,
    weights_names,
)

__all__ = [
    "PLAIN_PREPROCESSING",
    "Arm",
    "absolute_weights",
    "check_arm",
    "check_network_ref",
    "check_weights_ref",
    "describe_weights",
    "in_words",
    "meant_for",
    "network_names",
    "own_weights",
    "parse_arm",
    "said",
    "settled",
    "weights_fingerprint",
    "weights_names",
    "written",
]
