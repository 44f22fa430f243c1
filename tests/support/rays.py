"""A Ray cluster of some nodes on this machine for a test; where Ray cannot be installed, the test is skipped."""

import os
import shutil
import socket
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from transferscope.engine.environment import import_paths

STORE = 80 * 2**20  # bytes of a node's object store: the least that Ray takes


@contextmanager
def cluster(cpus: Sequence[int] = (1, 1), gpus: Sequence[int] = (), client: int | None = None) -> Iterator[Any]:
    """Nodes with so many cores and (made up) GPUs; this process has joined them, and others do by RAY_ADDRESS, or as
    from far away by the port `client`.

    Its files lie in a folder of a short name, for sockets have no long ones, and not where other clusters are found.
    """
    folder = tempfile.mkdtemp(prefix="r", dir="/tmp")
    ours = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_TMPDIR": folder, "RAY_ADDRESS": "", "RAY_worker_niceness": "0"}
    ours["PYTHONPATH"] = import_paths()  # of what clients from far away run on the head
    kept = {name: os.environ.get(name) for name in ours}
    os.makedirs(os.path.join(folder, "ray"))  # noqa: PTH103, PTH118
    os.environ.update(ours)
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    how = {"object_store_memory": STORE, "include_dashboard": False}
    made = None
    try:
        del os.environ["RAY_ADDRESS"]
        head = {**how, "num_cpus": cpus[0], "num_gpus": (*gpus, 0)[0], "ray_client_server_port": client}
        made = Cluster(initialize_head=True, head_node_args=head)
        for number, count in enumerate(cpus[1:], 1):
            made.add_node(**how, num_cpus=count, num_gpus=gpus[number] if gpus else 0)
        ray.init(address=made.address, log_to_driver=False, logging_level="ERROR")
        os.environ["RAY_ADDRESS"] = made.address
        yield made
    finally:
        ray.shutdown()
        if made is not None:
            made.shutdown()
        for name, value in kept.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})
        shutil.rmtree(folder, ignore_errors=True)


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        return int(asked.getsockname()[1])
