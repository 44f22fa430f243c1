"""GPUs of every make: what torch is asked about them, and that nothing on Apple's needs float64, by a stand-in."""

import subprocess
import sys
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from mps import standing_in
from probing.asked import PROBES, network
from toy.nets import tiny

import transferscope as ts
from transferscope import devices
from transferscope.devices import Accelerators
from transferscope.engine.machine import Machine
from transferscope.engine.worker_slots import dealt
from transferscope.errors import UserError
from transferscope.models.build import seeded

X, Y = torch.randn(40, 3, 9, 9, generator=torch.Generator().manual_seed(0)), torch.arange(40) % 4
BATCHES = [(X[:16], Y[:16]), (X[16:32], Y[16:32]), (X[32:], Y[32:])]
PLAIN = Machine(cores=8, memory=128 * 10**9, gpus=(), processor="p", system="s")


def none(**more: Any) -> SimpleNamespace:
    return SimpleNamespace(device_count=lambda: 0, **more)


def made(*names: str, **more: Any) -> SimpleNamespace:
    """A module of torch's that knows so many GPUs."""
    return SimpleNamespace(device_count=lambda: len(names), get_device_name=lambda n: names[n], **more)


@pytest.mark.parametrize(
    ("modules", "expected"),
    [
        ({}, Accelerators()),
        (
            {"cuda": made("A100", "T4", get_device_capability=lambda n: ((8, 0), (7, 5))[n])},
            Accelerators("cuda", ("A100", "T4"), (8.0, 7.5)),
        ),
        (  # ROCm, which torch calls cuda, too
            {"cuda": made("AMD Instinct MI300X", get_device_capability=lambda n: (9, 4))},
            Accelerators("cuda", ("AMD Instinct MI300X",), (9.4,)),
        ),
        (
            {"xpu": made("Intel Arc B580", is_bf16_supported=lambda including_emulation: not including_emulation)},
            Accelerators("xpu", ("Intel Arc B580",), bfloat16=True),
        ),
        ({"xpu": made("old")}, Accelerators("xpu", ("old",))),
        ({"mps": SimpleNamespace(device_count=lambda: 1)}, Accelerators("mps", ("Apple M9",))),
    ],
)
def test_what_torch_says_of_every_make(monkeypatch, modules: dict[str, Any], expected: Accelerators) -> None:
    for kind in devices.KINDS:
        monkeypatch.setattr(torch, kind, modules.get(kind, none()))
    monkeypatch.setattr(devices, "_chip", lambda: "Apple M9")
    assert devices.found() == expected


@pytest.fixture
def asked(monkeypatch):
    """``asked(answer)``: what another process prints, or what happens instead; returns the commands that were run."""
    commands: list[Any] = []

    def put(answer: str | Exception, likely: bool = True) -> list[Any]:
        def run(command: Any, **how: Any) -> Any:
            commands.append(command)
            if isinstance(answer, Exception):
                raise answer
            return SimpleNamespace(stdout=answer.encode())

        monkeypatch.setattr(devices, "_likely", lambda: likely)
        monkeypatch.setattr(subprocess, "run", run)
        devices.accelerators.cache_clear()
        return commands

    yield put
    devices.accelerators.cache_clear()


def test_torch_is_asked_in_a_process_of_its_own_and_once(asked) -> None:
    answer = '{"kind": "xpu", "names": ["a", "b"], "capabilities": [], "bfloat16": true}\n'
    commands = asked(f"a library says hello\n{answer}")
    assert devices.accelerators() == devices.accelerators() == Accelerators("xpu", ("a", "b"), (), True)
    assert commands == [[sys.executable, "-m", "transferscope.devices"]]


@pytest.mark.parametrize("answer", ["", "no json", "{}", OSError("none"), subprocess.TimeoutExpired("torch", 1)])
def test_a_driver_that_fails_or_hangs_is_no_gpu(asked, answer: Any) -> None:
    asked(answer)
    assert devices.accelerators() == Accelerators()


def test_where_nothing_speaks_of_a_gpu_torch_is_not_asked(asked, monkeypatch, tmp_path: Path) -> None:
    commands = asked("{}", likely=False)
    assert devices.accelerators() == Accelerators() and commands == []
    monkeypatch.undo()
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(devices.metadata, "version", lambda name: "2.9.1")
    monkeypatch.setattr(devices.shutil, "which", lambda name: None)
    assert not devices._likely(tmp_path)
    (tmp_path / "kfd").touch()
    assert devices._likely(tmp_path)
    monkeypatch.setattr(devices.metadata, "version", lambda name: "2.9.1+cpu")
    assert not devices._likely(tmp_path), "that torch knows no GPU"


def test_the_real_question_is_answered() -> None:
    done = subprocess.run([sys.executable, "-m", "transferscope.devices"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith('{"kind": "')


@pytest.mark.parametrize("device", ["cuda", "cuda:1", "xpu:0", "mps"])
def test_a_gpu_draws_by_the_seed_and_is_left_as_found(monkeypatch, device: str) -> None:
    """Of torch's three modules, of which Apple's takes no number."""
    drawn, current = torch.Generator().manual_seed(1), []

    @contextmanager
    def on(there: Any):
        current.append(str(there))
        yield
        current.pop()

    def seeded_there(number: int) -> None:
        assert current == ([] if device == "mps" else [device])
        drawn.manual_seed(number)

    module = SimpleNamespace(
        get_rng_state=lambda there: drawn.get_state() if str(there) == device else None,
        set_rng_state=lambda state, there: drawn.set_state(state),
        manual_seed=seeded_there,
        device=on,
    )
    monkeypatch.setattr(torch, devices.kind(device), module)
    before = drawn.get_state()

    def draw() -> torch.Tensor:
        with seeded(5, device):
            return torch.rand(3, generator=drawn)

    assert torch.equal(draw(), draw()) and torch.equal(drawn.get_state(), before)
    with pytest.raises(ValueError, match="inside"), seeded(5, torch.device(device)):
        raise ValueError("inside")
    assert torch.equal(drawn.get_state(), before)


def test_memory_and_waiting_of_every_make(monkeypatch) -> None:
    waited: list[Any] = []
    for kind in ("cuda", "xpu"):
        more = {"mem_get_info": lambda d: (7, 9), "max_memory_reserved": lambda d: 5, "synchronize": waited.append}
        monkeypatch.setattr(torch, kind, SimpleNamespace(**more))
        assert (devices.free_memory(f"{kind}:1"), devices.peak_memory(kind), devices.pins(kind)) == (7, 5, True)
        devices.synchronise(f"{kind}:1")
    monkeypatch.setattr(torch, "xpu", SimpleNamespace())
    assert devices.free_memory("xpu") == 0, "older releases do not tell"
    apple = {"recommended_max_memory": lambda: 10, "driver_allocated_memory": lambda: 4}
    monkeypatch.setattr(torch, "mps", SimpleNamespace(**apple, synchronize=lambda: waited.append("mps")))
    assert (devices.free_memory("mps:0"), devices.peak_memory("mps"), devices.pins("mps")) == (6, 4, False)
    devices.synchronise(torch.device("mps"))
    assert waited == ["cuda:1", "xpu:1", "mps"]
    devices.synchronise("cpu")
    assert (devices.free_memory("cpu"), devices.peak_memory("cpu"), devices.random_state("cpu")) == (0, 0, None)


def test_devices_are_dealt_as_they_are_asked_for() -> None:
    two = replace(PLAIN, gpus=("A", "B"), accelerator="xpu")
    assert dealt(two).devices == dealt(two, device="xpu").devices == ("xpu:0", "xpu:1")
    assert dealt(two, 2, device="xpu:1").devices == ("xpu:1", "xpu:1")
    assert dealt(two, 2, device="cpu").devices == dealt(PLAIN, 2).devices == ("cpu", "cpu")
    for machine, device, there in (
        (two, "cuda", "only xpu:0, xpu:1"),
        (two, "xpu:2", "only xpu:0, xpu:1"),
        (two, "mps", "only xpu:0, xpu:1"),
        (PLAIN, "cuda:1", "no GPU"),
    ):
        with pytest.raises(UserError) as said:
            dealt(machine, device=device)
        wanted = f"resources.device: '{device}' was asked for but {there} was found; use 'auto' or 'cpu'."
        assert str(said.value) == wanted


def test_ray_gives_every_worker_its_own(monkeypatch) -> None:
    from transferscope.engine.executors import _ray_cluster

    two = replace(PLAIN, gpus=("A", "A"), accelerator="xpu")
    monkeypatch.setattr(_ray_cluster, "_look", lambda found, environment: {"a": PLAIN, "b": two})
    nodes = {"a": {"CPU": 4}, "b": {"CPU": 4, "GPU": 1}}
    for device in ("auto", "xpu"):
        (node,) = _ray_cluster.workplaces(nodes, {"device": device}, {})
        assert (node.name, node.slots.devices, node.gpus) == ("b", ("xpu:0",), 1.0)
    several = replace(PLAIN, cores=8, gpus=("A",) * 5, accelerator="cuda")
    monkeypatch.setattr(_ray_cluster, "_look", lambda found, environment: {"a": PLAIN, "b": two, "c": several})
    more = {**nodes, "c": {"CPU": 8, "GPU": 5}}
    (node,) = _ray_cluster.workplaces(more, {"processes": 2}, {})
    assert (node.name, node.slots.devices, node.slots.processes, node.gpus) == ("c", ("cuda:0", "cuda:2"), 2, 2.0)
    with pytest.raises(UserError, match="gpus_per_run: no node of the Ray cluster has 6 GPUs; lower it"):
        _ray_cluster.workplaces(more, {"processes": 6}, {})
    monkeypatch.setattr(_ray_cluster, "_look", lambda found, environment: {"a": PLAIN, "b": two})
    with pytest.raises(UserError, match="'cuda' was asked for but no node has such a GPU; use 'auto' or 'cpu'"):
        _ray_cluster.workplaces(nodes, {"device": "cuda"}, {})
    with pytest.raises(UserError, match="'xpu:1' names one GPU, but Ray gives every worker its own; use 'xpu'"):
        _ray_cluster.workplaces(nodes, {"device": "xpu:1"}, {})


def test_the_stand_in_refuses_what_apple_does() -> None:
    with standing_in():
        there = X.to("mps")
        assert there.device.type == "mps" and torch.zeros(2, device=there.device).device.type == "mps"
        assert float((there * 2).sum()) == float((X * 2).sum()) and there.cpu().device.type == "cpu"
        for refused in (
            there.double,
            lambda: torch.zeros(2, dtype=torch.float64, device="mps"),
            lambda: torch.add(there, X),
        ):
            with pytest.raises(TypeError, match=r"float64|same device"):
                refused()


@pytest.mark.parametrize("name", PROBES)
def test_probes_on_a_gpu_without_float64(name: str) -> None:
    ask, truth = PROBES[name][:2]
    with standing_in():
        found = np.asarray(ask(network(1).to("mps"), network(2).to("mps"), list(BATCHES)), dtype=np.float64)
    with torch.no_grad():
        parts = [(x.double(), y) for x, y in BATCHES]
        expected = truth(network(1), network(2), parts) if truth else ask(network(1), network(2), list(BATCHES))
    assert found == pytest.approx(np.asarray(expected, dtype=np.float64), rel=2e-4, abs=2e-5)


def weighed(seed: int, device: str) -> torch.nn.Module:
    with seeded(seed):
        net = tiny(4).requires_grad_(False).eval()
        for module in net.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.normal_()
    return net.to(device)


@pytest.mark.parametrize(
    "ask",
    [
        lambda a, b: ts.distance(a, b).l2,
        lambda a, b: ts.spectrum(a, b).overlap,
        lambda a, b: ts.align(a, b).after,
        lambda a, b: ts.path(a, b, BATCHES, statistics=BATCHES, alphas=3).loss[0],  # with batch norm, folded
        lambda a, b: ts.path(a, b, BATCHES, batch_norm="average", alphas=3).loss[0],
        lambda a, b: ts.rewind(a, b, BATCHES, statistics=BATCHES).loss,
    ],
    ids=["distance", "spectrum", "align", "path", "path averaged", "rewind"],
)
def test_weights_and_batch_norm_without_float64(ask: Callable[..., Any]) -> None:
    expected = np.asarray(ask(weighed(1, "cpu"), weighed(2, "cpu")), dtype=np.float64)
    with standing_in():
        found = np.asarray(ask(weighed(1, "mps"), weighed(2, "mps")), dtype=np.float64)
    assert found == pytest.approx(expected, rel=1e-4, abs=1e-5, nan_ok=True)
