"""The one cut of a network into its named modules in execution order: `conv1`, `layer1.0`, ..., `fc`.

How a network is cut: its root is opened, and so is every list of modules (Sequential, ModuleList, ModuleDict) that
holds more than one weight layer, and every module that has a list made of such modules only (a stage, an encoder).
So are wrappers, from the root down: a module that alone of its parent's children holds weights, or that alone holds
several weight layers and has a stage somewhere inside, or a list of more than three weight layers, as a backbone has
beside its head. Everything else is one block.

A child without a weight matrix (a norm after its convolution) joins the block before it when that is a single layer,
else is a block of its own; tensors that an opened module holds directly (a class token) join the next block. A weight
layer is a module that owns a parameter with two or more dimensions.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from transferscope.errors import UserError
from transferscope.models.weights import belongs

LISTS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


@dataclass(frozen=True)
class Block:
    """One block: its name (that of its first module) and the dotted prefixes of everything in it."""

    name: str
    prefixes: tuple[str, ...]


def parameters_of(block: Block, names: Iterable[str]) -> tuple[str, ...]:
    """Those of the names (of parameters, buffers or a state dict) that belong to the block, in their order."""
    return tuple(name for name in names if belongs(name, block.prefixes))


def blocks(net: nn.Module, example: Tensor | None = None) -> tuple[Block, ...]:
    """The blocks of `net` in execution order; every parameter and buffer is in exactly one.

    Without `example` the order is that of definition, which for nearly all networks is the same. With one (a batch of
    inputs on the device of `net`) the network is run once, in eval mode, and blocks are sorted by their first call;
    those never called keep their place after the block before them. Raises UserError for a network without weights.
    """
    cut = _cut(net)
    if example is None:
        return cut
    first = _first_calls(net, [prefix for block in cut for prefix in block.prefixes], example)
    places: list[int] = []
    for block in cut:
        calls = [first[prefix] for prefix in block.prefixes if prefix in first]
        places.append(min(calls) if calls else (places[-1] if places else -1))
    return tuple(cut[i] for i in sorted(range(len(cut)), key=lambda i: places[i]))


def _layers(module: nn.Module) -> int:
    return sum(any(p.ndim > 1 for p in m.parameters(recurse=False)) for m in module.modules())


def _opened(module: nn.Module) -> bool:
    return _layers(module) > 1 if isinstance(module, LISTS) else _staged(module)


def _staged(module: nn.Module) -> bool:
    if isinstance(module, LISTS):
        return _layers(module) > 3
    for child in module.children():
        if isinstance(child, LISTS):
            sizes = [(_layers(element), element) for element in child.children()]
            sizes = [(size, element) for size, element in sizes if size]
            if sizes and all(size > 1 for size, _ in sizes):
                return True
    return False


def _wrapped(net: nn.Module) -> set[nn.Module]:
    """The wrappers that are opened: a chain of modules from a child of the root down."""
    found: set[nn.Module] = set()
    inside: nn.Module | None = net
    while inside is not None:
        heavy = [child for child in inside.children() if any(True for _ in child.parameters())]
        several = [child for child in heavy if _layers(child) > 1]
        here, inside = inside, several[0] if len(several) == 1 else None
        if inside is not None:
            alone = len(heavy) == 1 and not any(True for _ in here.parameters(recurse=False))
            if not alone and not any(map(_staged, inside.modules())):
                break
            found.add(inside)
    return found


def _cut(net: nn.Module) -> tuple[Block, ...]:
    done: list[tuple[list[str], bool]] = []  # prefixes of a block, whether it is a single layer
    waiting: list[str] = []  # prefixes that join the next block
    wrappers = _wrapped(net)

    def visit(module: nn.Module, path: str) -> None:
        own = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
        waiting.extend(path + name for name, _ in own)
        for name, child in module.named_children():
            full = path + name
            if not any(True for _ in child.parameters()) and not any(True for _ in child.buffers()):
                continue
            size = _layers(child)
            if size and (child in wrappers or _opened(child)):
                visit(child, full + ".")
            elif not size and done and (done[-1][1] or not any(True for _ in child.parameters())):
                done[-1][0].append(full)
            elif not size and not any(True for _ in child.parameters()):
                waiting.append(full)
            else:
                done.append(([full, *waiting], size == 1))
                waiting.clear()

    visit(net, "")
    if not done:
        raise UserError(f"network: {type(net).__name__} has no weight layers to cut into blocks.")
    done[-1][0].extend(waiting)
    return tuple(Block(prefixes[0], tuple(prefixes)) for prefixes, _ in done)


def _first_calls(net: nn.Module, names: list[str], example: Tensor) -> dict[str, int]:
    modules = dict(net.named_modules())
    order: dict[str, int] = {}
    training = {module: module.training for module in net.modules()}

    def record(name: str) -> None:
        order.setdefault(name, len(order))

    hooks = [
        modules[name].register_forward_pre_hook(lambda module, inputs, name=name: record(name))
        for name in names
        if name in modules
    ]
    try:
        with torch.no_grad():
            net.eval()(example)
    finally:
        for hook in hooks:
            hook.remove()
        for module, flag in training.items():
            module.training = flag
    return order


def top_parameters(net: nn.Module, trainable: str, classes: int) -> set[str]:
    """Names of the parameters in the head (`trainable` "head") or the last K blocks ("top:K", the head among them).

    Raises UserError for anything else and for more blocks than there are.
    """
    from transferscope.models.build import head_names
    from transferscope.models.weights import belongs

    names = [name for name, _ in net.named_parameters()]
    heads = head_names(net, classes)
    head = {name for name in names if belongs(name, heads)}
    if trainable == "head":
        return head
    cut = blocks(net)
    word, _, count = trainable.partition(":")
    if word != "top" or not count.isdigit() or not 1 <= int(count) <= len(cut):
        raise UserError(
            f"trainable: '{trainable}' should be all, head, lora:R with a rank R, or top:K with K from 1 to "
            f"{len(cut)} blocks."
        )
    return head.union(*(parameters_of(block, names) for block in cut[-int(count) :]))
