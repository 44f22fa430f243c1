"""Options that make every analysis of the quickstart a matter of seconds on a network of any kind."""

from typing import Any

OPTIONS: dict[str, dict[str, Any]] = {
    "transfer": {},
    "mistakes": {},
    "similarity": {"images": 24},
    "distance": {},
    "spectrum": {},
    "shuffle": {"blocks": [8], "seeds": 1},
    "barrier": {"images": 24, "statistics": 16, "alphas": 3, "same_init": True},
    "rewind": {"images": 16, "statistics": 16, "cumulative": "none"},
    "criticality": {"images": 16, "alphas": 2, "sigmas": 2, "draws": 1, "valleys": "none"},
    "reuse": {"at": [1]},
    "average": {"steps": 2, "images": 24, "statistics": 16},
}
