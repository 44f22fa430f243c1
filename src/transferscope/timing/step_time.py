"""Step time: the seconds that a training step and an evaluation batch take, timed in this process."""

import gc
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

from transferscope import devices
from transferscope.engine.arithmetic import PRECISIONS
from transferscope.errors import UserError
from transferscope.input_shape import Example, picture

PLAIN = "plain"  # as torch comes: NCHW, float32, its own depthwise gradients
COMPILED = "+compile"
WHOLE = "TRANSFERSCOPE_WHOLE_TORCH"  # in the environment of a process that takes torch with its compiler
SECONDS, ROUNDS = 0.8, 3  # of timing per way, after rounds of warming up, and the least rounds
IN_A_HURRY = 0.3, 1  # the same where a factor is enough
QUICK = 4e10  # operations of a step or an evaluation in a hurry: half a second or more of one core
SEVERAL = 64  # images of an evaluation from which its seconds grow as its images do


@dataclass(frozen=True)
class Question:
    """What is timed: a network as `networks` names it, square images, one training batch."""

    network: str
    image_size: int
    batch_size: int
    device: str = "cpu"
    threads: int = 1
    ways: tuple[str, ...] = PRECISIONS[:1]
    quick: bool = False  # on a CPU no more images than take a second, scaled up, few rounds, and no matrix product
    shape: tuple[int, ...] | None = None  # of one input that is no square picture
    vocabulary: int | None = None  # tokens that there are, of a text
    how: tuple[tuple[str, Any], ...] = ()  # fields of a recipe that a step's time hangs on, where they are not usual

    @property
    def image(self) -> Example:
        """What an image is like."""
        if self.vocabulary is not None and self.shape is not None:
            return Example(self.shape, "int32", self.vocabulary)
        return picture(self.image_size) if self.shape is None else Example(self.shape, "float32")


def question_of(text: str) -> Question:
    """A question from its JSON."""
    given = json.loads(text)
    shape = given["shape"] and tuple(given["shape"])
    how = tuple((key, value) for key, value in given["how"])
    return Question(**given | {"ways": tuple(given["ways"]), "shape": shape, "how": how})


def measure(question: Question) -> dict[str, Any]:
    """Time every way in turn, step by step, so that a busy machine slows all of them alike.

    Planning, which would have to load torch to cut the network into blocks, is told of that as well ("cut").
    """
    from transferscope.models import anatomy, check_network_ref

    check_network_ref(question.network)
    import torch

    from transferscope.models.build import build_network
    from transferscope.models.operations import forward_flops

    torch.set_num_threads(question.threads)
    train: dict[str, Callable[[], None]] = {}
    evaluate: dict[str, Callable[[], None]] = {}
    net = build_network(question.network, anatomy.CLASSES, seed=0)
    try:
        blocks = anatomy.cut(net)
    except UserError:  # of a network that can be trained all the same; planning says so where it asks for blocks
        blocks = None
    flops = sum(forward_flops(net.eval(), question.image).values())
    asked, question = question, _shortened(question, flops)
    images = _evaluated(question, flops)
    for way in question.ways:
        train[way], evaluate[way] = loops(network(question), way, question, images)
    starts = {way: _start(train[way], evaluate[way]) for way in question.ways}
    how = IN_A_HURRY if question.quick else (SECONDS, ROUNDS)
    steps, passes = _timed(train, question.device, *how), _timed(evaluate, question.device, *how)
    share = asked.batch_size / question.batch_size
    return {
        "paces": {
            way: {"step": steps[way] * share, "evaluation": passes[way] / images, "start": starts[way]}
            for way in question.ways
        },
        "bytes": sum(t.numel() * t.element_size() for t in net.state_dict().values()),
        "flops": flops,
        "cut": blocks,
        "matmul": {name: _matmul(getattr(torch, name), question.device) for name in _precisions(asked)},
    }


def network(question: Question) -> Any:
    """The network that is timed, dropping what the recipe drops."""
    from transferscope.models.build import build_network

    return build_network(question.network, 10, seed=0, drops=_recipe(question).drops)


def _recipe(question: Question) -> Any:
    """What a step's time hangs on; its rates are of no account."""
    from transferscope.tasks.recipe import Training

    return Training.of_timed(question.how)


def _precisions(question: Question) -> list[str]:
    """What a matrix product is timed in: every precision among the ways; none in a hurry."""
    said = ["float32" if way == PLAIN else way.removesuffix(COMPILED) for way in question.ways]
    return [] if question.quick else list(dict.fromkeys(said))


def _shortened(question: Question, flops: float) -> Question:
    """The question with a batch that a CPU does in a second or less, if it is in a hurry."""
    if not question.quick or question.device != "cpu":
        return question
    return replace(question, batch_size=min(question.batch_size, max(2, int(QUICK / (3 * flops)))))


def _evaluated(question: Question, flops: float) -> int:
    """Images of an evaluation: as many as tell its seconds, or in a hurry what a CPU does in a second or less."""
    several = max(question.batch_size, SEVERAL)
    if not question.quick or question.device != "cpu":
        return several
    return max(question.batch_size, min(several, int(QUICK / flops)))


def loops(net: Any, way: str, question: Question, evaluated: int) -> tuple[Callable[[], None], Callable[[], None]]:
    """One training step and one evaluation of `evaluated` images, of a network prepared as training prepares it.

    A step begins with what the recipe does to pictures after cropping, and ends with an update, as if `accumulate`
    were 1.
    """
    import torch
    import torch.nn.functional as F

    from transferscope.models.outputs import logits_of
    from transferscope.models.precision import prepare, running
    from transferscope.tasks import run_setup
    from transferscope.tasks.augmented import augmented
    from transferscope.tasks.update import Update

    precision, device = ("float32" if way == PLAIN else way.removesuffix(COMPILED)), question.device
    layout = torch.contiguous_format if way == PLAIN else torch.channels_last
    net = net.to(device) if way == PLAIN else prepare(net, device)
    if way.endswith(COMPILED):
        net.compile()
    recipe = _recipe(question)
    update = Update(net, run_setup.optimiser(net, recipe), recipe)
    draw = torch.Generator().manual_seed(0)
    images = question.image.example(max(question.batch_size, evaluated)).to(device)
    images = images.to(memory_format=layout) if images.ndim == 4 else images
    labels = torch.randint(0, 10, (question.batch_size,), generator=draw).to(device)
    listed = (*(recipe.augment.then if recipe.augment else ()), *(recipe.prepare or ()))
    then = augmented(listed, seed=0, epoch=0)
    crops = torch.randint(0, 256, images[: question.batch_size].shape, dtype=torch.uint8, generator=draw).to(device)

    def step() -> None:
        then.on_trial(crops)
        net.train()
        with running(precision, device):
            out = logits_of(net(images[: question.batch_size]), question.batch_size).float()
        loss = F.cross_entropy(out, labels)
        update.take(loss, recipe.lr, 0, 1, 0)

    def evaluate() -> None:
        net.eval()
        with torch.no_grad(), running(precision, device):
            net(images[:evaluated])

    return step, evaluate


def _start(step: Callable[[], None], evaluate: Callable[[], None]) -> float:
    """Seconds of the very first step and evaluation: wall time, since compilers work in processes of their own."""
    began = time.perf_counter()
    step()
    evaluate()
    return time.perf_counter() - began


def _once(loop: Callable[[], Any], device: str) -> float:
    """Seconds of one call."""
    import torch

    # One thread's processor time is its wall time on a free core, whoever else wants the core now.
    clock = time.process_time if device == "cpu" and torch.get_num_threads() == 1 else time.perf_counter
    began = clock()
    loop()
    devices.synchronise(device)
    return clock() - began


def _timed(
    loops: Mapping[str, Callable[[], Any]], device: str, seconds: float = SECONDS, least: int = ROUNDS
) -> dict[str, float]:
    """Median seconds of each loop, taken in turns for about so many seconds each."""
    first = {way: min(_once(loop, device) for _ in range(min(2, least))) for way, loop in loops.items()}
    rounds = min(50, max(least, int(seconds * len(loops) / sum(first.values()))))
    taken: dict[str, list[float]] = {way: [] for way in loops}
    for _ in range(rounds):
        for way, loop in loops.items():
            taken[way].append(_once(loop, device))
    return {way: statistics.median(seconds) for way, seconds in taken.items()}


def _matmul(kind: Any, device: str) -> float:
    """FLOP/s of a large square matrix product: what this machine reaches at best."""
    import torch

    side = 1024 if device == "cpu" else 8192
    a = torch.randn(side, side, device=device).to(kind)
    return 2.0 * side**3 / _timed({"mm": lambda: torch.mm(a, a)}, device)["mm"]


class _Idle(ModuleType):
    """A module whose every function gives its first argument back, if there is one."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *given, **_: given[0] if given else None


def _without_compiler() -> None:
    """Spare this process torch's compiler, which torchvision and optimisers load at once: a quarter of its time."""
    import torch

    for name in ("torch._dynamo", "torch._dynamo.utils"):
        sys.modules.setdefault(name, _Idle(name)).__path__ = []
    torch._dynamo = sys.modules["torch._dynamo"]


def _main() -> None:
    """Answer the question on the command line in JSON; without a compiler first, where nothing is compiled."""
    gc.disable()  # what imports make stays: walking it again and again would take a quarter of their time
    question = question_of(sys.argv[1])
    if WHOLE not in os.environ and not any(way.endswith(COMPILED) for way in question.ways):
        _without_compiler()
        try:
            answer = measure(question)
        except Exception:  # perhaps of a network that needs the compiler: start again, with it
            os.execve(sys.executable, [sys.executable, "-m", __spec__.name, *sys.argv[1:]], os.environ | {WHOLE: "1"})
    else:
        answer = measure(question)
    print(json.dumps(answer))


if __name__ == "__main__":
    _main()
