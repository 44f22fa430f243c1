"""A Ray cluster: joining it, and what its nodes have to offer as workers."""

import logging
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from transferscope import devices, extras
from transferscope.engine.executors import Slots, _ray_node
from transferscope.engine.machine import Machine
from transferscope.engine.worker_slots import dealt
from transferscope.errors import UserError

log = logging.getLogger(__name__)
ANSWER = 120.0  # seconds in which a node has to answer
ATTEMPTS = 3  # to be let in by a cluster far away
OWN_MEMORY = 100 * 2**20  # bytes of the object store of a cluster of our own, through which next to nothing goes


@dataclass(frozen=True)
class Node:
    """A node that works, and how it is dealt among workers, each with so many of its cores and of its GPUs."""

    name: str
    machine: Machine
    slots: Slots
    gpus: float = 0.0

    @property
    def words(self) -> str:
        return self.machine.describe(self.slots.devices[0])


def ray() -> Any:
    """The library. UserError where it is not installed, or broken."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    return extras.load("ray", "ray", "resources.executor: 'ray'")


def join(address: str | None) -> bool:
    """Join the cluster at `address`, else the one of RAY_ADDRESS or on this machine, else begin one here; nothing where
    this process has joined one. True where it is to be left again. UserError where there is none."""
    library = ray()
    if library.is_initialized():
        return False
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR", "namespace": "transferscope"}
    place = address if address is None or address.startswith("ray://") else address.partition(":")[2]
    try:
        _init(library, address=place or "auto", **quiet)
    except Exception as error:  # of a handful of kinds, by the way it was reached
        if place is not None or not isinstance(error, ConnectionError) or "RAY_ADDRESS" in os.environ:
            lines = str(error).strip().splitlines() or [type(error).__name__]
            why = lines[-1 if any(line.startswith("Traceback") for line in lines) else 0]
            raise UserError(f"resources.executor: the Ray cluster at {place or 'RAY_ADDRESS'}: {why}") from None
        library.init(address="local", include_dashboard=False, object_store_memory=OWN_MEMORY, **quiet)
        log.info("No Ray cluster was found: one is begun on this machine, for this run.")
    return True


def _init(library: Any, **how: Any) -> None:
    """`ray.init`, again where Ray's own server for this client did not come up: it is forked from a process of many
    threads, and of some dozen forks one hangs."""
    for attempt in range(ATTEMPTS):
        try:
            library.init(**how)
            return
        except ConnectionAbortedError:
            if attempt == ATTEMPTS - 1:
                raise


def alive(but: Iterable[str] = ()) -> dict[str, Mapping[str, float]]:
    """The resources of all nodes that are there, by name, without some."""
    left = set(but)
    return {n["NodeID"]: n["Resources"] for n in ray().nodes() if n["Alive"] and n["NodeID"] not in left}


def on(name: str) -> Any:
    """The scheduling strategy that means one node."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return NodeAffinitySchedulingStrategy(name, soft=False)


def workplaces(
    found: Mapping[str, Mapping[str, float]], options: Mapping[str, Any], environment: Mapping[str, Any]
) -> list[Node]:
    """How the nodes `found` are dealt among workers: those with GPUs where any has, by what Ray may give of each.

    UserError for nodes that lack the project, or have another version of what computes.
    """
    found = {name: has for name, has in found.items() if has.get("CPU", 0) >= 1}
    offered = {name: _offered(machine, found[name]) for name, machine in _look(found, environment).items()}
    device = options.get("device", "auto")
    if ":" in device:
        raise UserError(
            f"resources.device: '{device}' names one GPU, but Ray gives every worker its own; use "
            f"'{devices.kind(device)}'."
        )
    processes = options.get("processes", 1)
    with_gpus = {
        name: machine for name, machine in offered.items() if machine.gpus and device in ("auto", machine.accelerator)
    }
    if with_gpus and not (many := {name: one for name, one in with_gpus.items() if len(one.gpus) >= processes}):
        raise UserError(f"resources.gpus_per_run: no node of the Ray cluster has {processes} GPUs; lower it.")
    if with_gpus:
        offered = many
    elif device not in ("auto", "cpu"):
        raise UserError(f"resources.device: '{device}' was asked for but no node has such a GPU; use 'auto' or 'cpu'.")
    nodes = []
    for name, machine in offered.items():
        threads, sharing = options.get("threads", "auto"), partial(_sharing, name, options)
        slots = dealt(machine, "auto", threads, device, sharing, processes)
        each = -(-len(slots.devices) * processes // len(machine.gpus)) if machine.gpus else 0
        nodes.append(Node(name, machine, slots, int(1e4 / each) / 1e4 * processes if each else 0.0))
    return _limited(nodes, options.get("slots", "auto"))


def _offered(machine: Machine, resources: Mapping[str, float]) -> Machine:
    """What of a machine Ray gives away. GPUs that it was told of and that nobody can see keep their number."""
    gpus, count = machine.gpus, int(resources.get("GPU", 0))
    names = (gpus * count if gpus else ("a GPU",) * count)[:count]
    return replace(machine, cores=min(machine.cores, int(resources["CPU"])), gpus=names)


def _limited(nodes: list[Node], count: int | str) -> list[Node]:
    """At most `count` workers in all."""
    left = 10**9 if isinstance(count, str) else count
    kept = []
    for node in nodes:
        if devices := node.slots.devices[:left]:
            kept.append(replace(node, slots=replace(node.slots, devices=devices)))
            left -= len(devices)
    return kept


def _look(names: Iterable[str], environment: Mapping[str, Any]) -> dict[str, Machine]:
    library = ray()
    look = library.remote(_ray_node.look)
    how = {"num_cpus": 0, "runtime_env": environment}
    asked = {name: look.options(scheduling_strategy=on(name), **how).remote() for name in names}
    seen: dict[str, _ray_node.Seen] = {}
    for name, one in asked.items():
        try:
            seen[name] = library.get(one, timeout=ANSWER)
        except (library.exceptions.TaskUnschedulableError, library.exceptions.NodeDiedError):
            log.info("A node of the Ray cluster was lost meanwhile: it is left out.")
        except Exception as error:  # a module that is not there, a node that does not answer
            why = (str(error).strip().splitlines() or [type(error).__name__])[-1]
            raise UserError(
                f"resources.executor: a node of the Ray cluster cannot work ({why}); install transferscope on all."
            ) from None
    ours = _ray_node.versions()
    for one in seen.values():
        if one.versions != ours:
            there, here = (", ".join(f"{n} {v}" for n, v in said.items()) for said in (one.versions, ours))
            raise UserError(f"resources.executor: a node of the Ray cluster has {there}; here is {here}.")
    return {name: one.machine for name, one in seen.items()}


def _sharing(name: str, options: Mapping[str, Any]) -> int:
    """How many runs share a GPU of a node, measured there; 1 where nobody asks."""
    if (question := options.get("sharing")) is None:
        return 1
    ask = ray().remote(_ray_node.asked).options(num_cpus=1, num_gpus=1, scheduling_strategy=on(name))
    return int(ray().get(ask.remote(question)))
