"""ray: workers on all nodes of a Ray cluster, one a slot, warm between steps, the longest way to the end first.

`ray` is the cluster of RAY_ADDRESS or of this machine, or a new one here; `ray://HOST:10001` one far away (Ray Client),
`ray:HOST:6379` one that this machine belongs to. Results travel through the store, which all nodes share. A step whose
worker or node is lost is tried once more elsewhere, from its last save.
"""

import logging
import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from transferscope.engine.environment import import_paths, worker_environment
from transferscope.engine.executors import Slots, _ray_cluster, _ray_node
from transferscope.engine.executors._ray_cluster import Node
from transferscope.engine.executors._ray_slot import Slot
from transferscope.engine.queue import Course, Watch
from transferscope.engine.step import Step
from transferscope.engine.store import Store
from transferscope.engine.worker import Outcome
from transferscope.engine.worker_kinds import Bench, differences
from transferscope.errors import UserError

log = logging.getLogger(__name__)
ELSEWHERE = True
ADDRESS = "ray://HOST:10001"
LOOKS = 2.0  # seconds between two looks at the nodes
PAUSE = 0.2  # seconds that the loop waits for a worker
LONELY = 600.0  # seconds that a run waits while it has no worker
BUCKETS = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION")  # no secrets
KEPT = ("HF_HUB_OFFLINE", "HF_HOME", "TORCH_HOME", "XDG_CACHE_HOME", "TRANSFERSCOPE_TRUST", *BUCKETS)


@dataclass
class Ray:
    """One actor per worker of every node; `slots` are those of all."""

    slots: Slots
    options: Mapping[str, Any] = field(default_factory=dict)
    _stopped: bool = field(default=False, init=False)
    _killed: bool = field(default=False, init=False)
    _ours: bool = field(default=False, init=False)
    _live: list[Slot] = field(default_factory=list, init=False)
    _met: set[str] = field(default_factory=set, init=False)  # nodes that were looked at
    _looked: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        self._ours = _ray_cluster.join(self.options.get("address"))
        self._nodes = self._found(_ray_cluster.alive())
        devices = tuple(device for node in self._nodes for device in node.slots.devices)
        threads = min((node.slots.threads for node in self._nodes), default=1)
        self.slots = Slots(devices, threads, sum(node.slots.cores for node in self._nodes))

    def stop(self) -> None:
        """Safe in a signal handler: the loop passes the word on."""
        self._stopped = True

    def kill(self) -> None:
        """Likewise."""
        self._stopped = self._killed = True

    def run(self, steps: Iterable[Step], store: Store, watch: Watch = lambda *_: None) -> dict[str, Outcome]:
        """Do `steps` (inputs among them or already in `store`). UserError where nodes do not see the store."""
        todo = list(steps)
        places = [Bench(node.machine, node.slots.devices[0]) for node in self._nodes]
        for said in differences(places, todo, bool(self.options.get("natural"))):
            log.info(said)
        store.prepare()
        try:
            with store.marked() as mark:
                return self._run(todo, store, watch, mark)
        finally:
            self._dismiss()

    def _run(self, todo: list[Step], store: Store, watch: Watch, mark: str) -> dict[str, Outcome]:
        ray, course, lost = _ray_cluster.ray(), Course(todo, store, watch), set[str]()
        again: list[Step] = []  # those whose worker was lost
        told, alone = False, time.monotonic()
        while not self._killed:
            self._people(len(todo), store, mark)
            done = self._deal_out(course, again)
            busy = [slot for slot in self._live if slot.step is not None]
            alone = time.monotonic() if any(slot.ready for slot in self._live) else alone
            if not busy and (done or time.monotonic() - alone > LONELY):
                break
            if self._stopped and not told:
                told = True
                for slot in busy:
                    slot.actor.stop.remote()
            waited = {slot.pending: slot for slot in self._live if slot.step is not None or not slot.ready}
            for reference in ray.wait([*waited], timeout=PAUSE)[0] if waited else _pause():
                slot = waited[reference]
                if (ended := self._hear(slot, store)) is None:
                    continue
                if slot.step is not None and ended.key not in lost and not self._stopped:
                    lost.add(ended.key)
                    again.append(slot.step)
                else:
                    course.end(ended)
            for slot in busy:
                if slot.step is not None and slot in self._live:
                    slot.ask(watch)
                    slot.end_if_it_stands(self.options.get("patience"), store)
        for slot in self._live:
            if slot.step is not None:
                course.end(Outcome(slot.step.key, "interrupted", error="it was ended; run again to go on"))
        return course.outcomes()

    def _deal_out(self, course: Course, again: list[Step]) -> bool:
        """Give steps to workers that have none. True where there is nothing more to give, now and later."""
        if self._stopped:
            return True
        for slot in [slot for slot in self._live if slot.ready and slot.step is None]:
            if (step := again.pop() if again else course.next()) is None:
                return not course.waits
            slot.give(step)
        return False

    def _hear(self, slot: Slot, store: Store) -> Outcome | None:
        """What a worker answered: nothing where it has come to be there; the outcome when its step is over, by word or
        by its loss. One that is lost keeps its `step` and leaves the living."""
        ray = _ray_cluster.ray()
        try:
            value = ray.get(slot.pending)
        except ray.exceptions.RayError as error:
            self._live.remove(slot)
            slot.end()  # it may be there still, behind a network that is not
            return None if slot.step is None else Outcome(slot.step.key, "failed", error=slot.loss(error))
        if not slot.ready:
            slot.ready = True
            if not value:
                raise UserError(
                    f"resources.store: not every node of the Ray cluster sees {store.place}; put the store "
                    "where all of them reach it."
                )
            return None
        slot.step = None
        return Outcome(**value)

    def _people(self, most: int, store: Store, mark: str) -> None:
        """Start workers where they are missing, on nodes that came as well, at most `most`, a node after the other."""
        if self._stopped or (self._looked and time.monotonic() - self._looked < LOOKS):
            return
        there = _ray_cluster.alive()
        if self._looked and (new := {name: has for name, has in there.items() if name not in self._met}):
            self._nodes += self._found(new)
        self._looked = time.monotonic()
        places = [node for node in self._nodes if node.name in there]
        for number in range(max((len(node.slots.devices) for node in places), default=0)):
            for node in places:
                has = sum(slot.node is node for slot in self._live)
                if has <= number < len(node.slots.devices) and len(self._live) < most:
                    self._live.append(self._start(node, store, mark))

    def _found(self, names: Mapping[str, Mapping[str, float]]) -> list[Node]:
        """The nodes of these names that can work. Of those that come while a run goes on, what is wrong is told."""
        first = not self._met
        self._met |= set(names)
        try:
            return _ray_cluster.workplaces(names, self.options, self._environment(1))
        except UserError as error:
            if first:
                raise
            log.info(f"A node that joined the cluster is left out. {error}")
            return []

    def _start(self, node: Node, store: Store, mark: str) -> Slot:
        ray, slots = _ray_cluster.ray(), node.slots
        work = {
            "cores": slots.cores,
            "threads": slots.threads,
            "device": slots.devices[0],  # Ray shows every worker its own GPUs, the first as the first
            "processes": slots.processes,
            "options": {name: self.options[name] for name in ("table", "compile") if name in self.options},
        }
        made = ray.remote(_ray_node.Worker).options(
            num_cpus=slots.threads,
            num_gpus=node.gpus,
            max_concurrency=3,  # a step, and those who ask after it
            max_restarts=0,
            scheduling_strategy=_ray_cluster.on(node.name),
            runtime_env=self._environment(slots.threads),
        )
        actor = made.remote(store.place, str(Path.cwd()), work)
        return Slot(node, actor, actor.ready.remote(mark))

    @staticmethod
    def _environment(threads: int) -> dict[str, Any]:
        """What a worker process starts with: see `worker_environment`; modules of one's own are found as here."""
        kept = {name: os.environ[name] for name in KEPT if name in os.environ}
        return {"env_vars": {**kept, "PYTHONPATH": import_paths(), **worker_environment(threads)}}

    def _dismiss(self) -> None:
        """End all workers, and leave a cluster that was joined for this run."""
        for slot in self._live:
            slot.end()
        self._live.clear()
        if self._ours:
            _ray_cluster.ray().shutdown()


def _pause() -> tuple[Any, ...]:
    time.sleep(PAUSE)
    return ()


executor = Ray
