"""CKA of two and of eight networks, one thread: ours beside public tools, the floor, and float64.

Run `python benchmarks/similarity.py` (about 20 minutes; `--images 512 --repeats 1` for a look). Every job runs in a
process of its own, all jobs once per repeat. Printed are medians over repeats of the CPU seconds and of the paired
ratios to the floor, the extra memory (peak minus what stood before the job), and the errors against float64. Peers keep
references to activations: where the residual sum is made in place, they compare what it left of them. The floor is what
nobody can do without: both forward passes and one plain n x n Gram per layer and batch. Peers (pytorch-cka, torch-cka)
are used where installed. Eight networks: the peer is run pair by pair, 28 times one pair (`--all-pairs` runs them all
instead of multiplying).
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from machine import say

NETWORKS = 8
JOBS = ("forwards", "floor", "ours", "pytorch-cka", "torch-cka", "ours full batch", "ours eight", "pytorch-cka eight")


def networks(count: int) -> list[nn.Module]:
    """ResNet-18 of different initial values, no residual branch switched off.

    ReLUs do not work in place: peers keep references to activations, and would compare what a later ReLU left of them.
    """
    import timm

    made = []
    for seed in range(count):
        torch.manual_seed(seed)
        net = timm.create_model("resnet18", num_classes=10, zero_init_last=False).eval()
        for module in net.modules():
            if isinstance(module, nn.ReLU):
                module.inplace = False
        made.append(net)
    return made


def layers(net: nn.Module) -> list[str]:
    """The leaves that run exactly once and give a row per sample: 60 of them."""
    from transferscope.probes.features.tap import How, Tap
    from transferscope.probes.running import undisturbed

    with undisturbed([net], "eval"):
        slots = Tap(net, "leaves", How(), torch.zeros(2, 3, 32, 32)).slots
    names = [slot.module for slot in slots]
    return [name for name in names if names.count(name) == 1 and "drop" not in name and "aa" not in name][:60]


def batches(images: int, size: int = 256) -> list[Tensor]:
    draw = torch.Generator().manual_seed(0)
    return list((torch.randn(images, 3, 32, 32, generator=draw).cumsum(3) / 4).split(size))


@contextmanager
def hooked(net: nn.Module, names: list[str], take: Callable[[str, Tensor], None]) -> Iterator[None]:
    modules = dict(net.named_modules())
    handles = [modules[n].register_forward_hook(lambda _, __, out, n=n: take(n, out)) for n in names]
    yield
    for handle in handles:
        handle.remove()


def run_forwards(nets: list[nn.Module], data: list[Tensor], names: list[str]) -> None:
    with torch.no_grad():
        for x in data:
            for net in nets:
                net(x)


def run_floor(nets: list[nn.Module], data: list[Tensor], names: list[str]) -> None:
    def gram(_: str, out: Tensor) -> None:
        rows = out.flatten(1)
        rows @ rows.T

    with torch.no_grad():
        for x in data:
            for net in nets:
                with hooked(net, names, gram):
                    net(x)


def run_ours(nets: list[nn.Module], data: list[Tensor], names: list[str], estimator: str = "unbiased") -> Any:
    from transferscope import similarity_matrix

    found = similarity_matrix(nets, data, names, estimator=estimator)  # type: ignore[arg-type]
    return found.pair(0, 1).matrix


def run_pytorch_cka(nets: list[nn.Module], data: list[Tensor], names: list[str]) -> Any:
    from cka import compute_cka

    loader = torch.utils.data.DataLoader(torch.cat(data), batch_size=len(data[0]))
    return compute_cka(nets[0], nets[1], loader, layers=names, device="cpu", progress=False)[0].numpy()


def run_torch_cka(nets: list[nn.Module], data: list[Tensor], names: list[str]) -> Any:
    from torch_cka import CKA

    pairs = torch.utils.data.TensorDataset(torch.cat(data), torch.zeros(sum(map(len, data))))
    loader = torch.utils.data.DataLoader(pairs, batch_size=len(data[0]))
    tool = CKA(nets[0], nets[1], model1_layers=names, model2_layers=names, device="cpu")
    tool.compare(loader)
    return tool.export()["CKA"].numpy()


def in_float64(
    nets: list[nn.Module], data: list[Tensor], names: list[str]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Minibatch, biased and unbiased full-batch maps from float64 Grams of the networks' float32 features."""
    sums = np.zeros((2 * len(names), 2 * len(names)))
    chunks: list[list[Tensor]] = [[] for _ in range(2 * len(names))]

    def u_centred(rows: Tensor) -> Tensor:
        rows = rows.double() - rows.double().mean(0)
        k, n = (rows @ rows.T).fill_diagonal_(0), len(rows)
        means = k.sum(1) / (n - 2)
        means -= means.sum() / (2 * (n - 1))
        return (k - means[:, None] - means[None]).fill_diagonal_(0)

    with torch.no_grad():
        for x in data:
            for i, net in enumerate(nets[:2]):
                place = {name: i * len(names) + j for j, name in enumerate(names)}
                with hooked(net, names, lambda n, out, place=place: chunks[place[n]].append(out.flatten(1).clone())):
                    net(x)
            flat = torch.stack([u_centred(c[-1]).flatten() for c in chunks])
            sums += (flat @ flat.T).numpy()
    cut = np.s_[: len(names), len(names) :]

    def ratio(total: np.ndarray) -> np.ndarray:
        root = np.sqrt(np.diag(total))
        return (total / np.outer(root, root))[cut]

    grams = []
    for c in chunks:
        rows = torch.cat(c).double()
        rows = rows - rows.mean(0)
        k = rows @ rows.T
        grams.append((k / k.norm()).flatten())
    flat = torch.stack(grams)
    biased = (flat @ flat.T).numpy()
    n = sum(map(len, data))
    exact = torch.stack([u_centred_gram(g.view(n, n)).flatten() for g in grams])
    return ratio(sums), ratio(biased), ratio((exact @ exact.T).numpy())


def u_centred_gram(k: Tensor) -> Tensor:
    n = len(k)
    k = k.clone().fill_diagonal_(0)
    means = k.sum(1) / (n - 2)
    means -= means.sum() / (2 * (n - 1))
    return (k - means[:, None] - means[None]).fill_diagonal_(0)


def resident() -> float:
    """Peak resident memory of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def job(name: str, images: int, all_pairs: bool, keep: Path) -> dict[str, Any]:
    """One job: CPU seconds, extra memory, and its map kept in `keep`."""
    torch.set_num_threads(1)
    count = NETWORKS if "eight" in name else 2
    nets, data = networks(count), batches(images)
    names = layers(nets[0])
    if name == "float64":
        for word, matrix in zip(("minibatch", "biased", "full"), in_float64(nets, data, names), strict=True):
            np.save(keep / f"{word}.npy", matrix)
        return {}
    run_forwards(nets, data[:1], names)
    before, began = resident(), time.process_time()
    if name == "forwards":
        found = run_forwards(nets, data, names)
    elif name == "floor":
        found = run_floor(nets, data, names)
    elif name.startswith("ours"):
        found = run_ours(nets, data, names, "unbiased-full" if "full" in name else "unbiased")
    elif name == "torch-cka":
        found = run_torch_cka(nets, data, names)
    elif "eight" in name:
        pairs = [(a, b) for i, a in enumerate(nets) for b in nets[i + 1 :]]
        for a, b in pairs if all_pairs else pairs[:1]:
            found = run_pytorch_cka([a, b], data, names)
    else:
        found = run_pytorch_cka(nets, data, names)
    seconds = time.process_time() - began
    if name == "pytorch-cka eight" and not all_pairs:
        seconds *= NETWORKS * (NETWORKS - 1) / 2
    if found is not None:
        np.save(keep / f"{name}.npy", found)
    return {"seconds": seconds, "megabytes": resident() - before, "layers": len(names)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=2048)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--all-pairs", action="store_true")
    parser.add_argument("--jobs", nargs="*", default=list(JOBS), choices=JOBS)
    parser.add_argument("--job", help=argparse.SUPPRESS)
    parser.add_argument("--keep", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.job:
        print(json.dumps(job(options.job, options.images, options.all_pairs, options.keep)))
        return
    say("float32")
    said: dict[str, list[dict[str, Any]]] = {name: [] for name in dict.fromkeys(["floor", *options.jobs])}
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, "--images", str(options.images), "--keep", folder]
        command += ["--all-pairs"] if options.all_pairs else []
        subprocess.run([*command, "--job", "float64"], check=True, stdout=subprocess.DEVNULL)
        for _ in range(options.repeats):
            for name in said:
                done = subprocess.run([*command, "--job", name], capture_output=True, text=True, check=False)
                if done.returncode:
                    print(f"{name}: {done.stderr.strip().splitlines()[-1]}", file=sys.stderr)
                    continue
                said[name].append(json.loads(done.stdout.strip().splitlines()[-1]))
        print(f"{options.images} images, {said['floor'][0]['layers']} layers, one thread, {options.repeats} repeats")
        print(f"{'':20}{'CPU s':>9}{'x floor':>9}{'extra MB':>10}{'error: median, max':>20}")
        for name, runs in said.items():
            if not runs:
                continue
            times = [f"{r['seconds'] / f['seconds']:.2f}" for r, f in zip(runs, said["floor"], strict=False)]
            ratio = median(map(float, times))
            seconds, memory = median(r["seconds"] for r in runs), median(r["megabytes"] for r in runs)
            print(f"{name:20}{seconds:9.2f}{ratio:9.2f}{memory:10.0f}{error(Path(folder), name):>20}")


def error(folder: Path, name: str) -> str:
    """Median and largest error of a job's map against float64, empty where it has none."""
    path = folder / f"{name}.npy"
    if not path.exists():
        return ""
    truth = np.load(folder / ("full.npy" if "full" in name else "minibatch.npy"))
    found = np.load(path)
    gap = np.abs(found - truth)
    return f"{np.median(gap):.0e}, {gap.max():.0e}"


if __name__ == "__main__":
    main()
