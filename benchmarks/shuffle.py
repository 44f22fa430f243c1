"""Block shuffling of a batch, one thread: one gather against unfold-permute-fold per image, and against plain copies.

Run `python benchmarks/shuffle.py`. Every repeat times all in turn, in CPU seconds of this process; printed are medians
over repeats of the milliseconds and of the paired ratios. "clone" makes a new tensor, as the gather does, and may pay
for fresh memory pages; "copy" writes into memory already there, the floor. `--format channels_last` and `--uint8`
measure the forms in which training meets the batch.
"""

import argparse
import time

import numpy as np
import torch
import torch.nn.functional as F

from transferscope.data.shuffle import Block, block_permutation, shuffle


def unfold_permute_fold(x: torch.Tensor, permutation: np.ndarray, b: Block) -> torch.Tensor:
    """The usual way: each image by itself."""
    index = torch.from_numpy(permutation)
    out = []
    for image in x:
        if b == "channels":
            out.append(image.reshape(-1)[index].view(image.shape))
        else:
            patches = F.unfold(image[None], b, stride=b)
            out.append(F.fold(patches[:, :, index], image.shape[-2:], b, stride=b)[0])
    return torch.stack(out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--format", choices=("contiguous", "channels_last"), default="contiguous")
    parser.add_argument(
        "--uint8", action="store_true", help="move bytes, before normalisation (the slow way has no such form)"
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    floats = torch.randn(options.batch, 3, options.size, options.size, generator=torch.Generator().manual_seed(0))
    if options.format == "channels_last":
        floats = floats.contiguous(memory_format=torch.channels_last)
    ours = (floats * 50 + 128).clamp(0, 255).to(torch.uint8) if options.uint8 else floats
    print(f"{tuple(ours.shape)} {ours.dtype} {options.format}, one thread; milliseconds, then ratios (range)")
    existing = torch.empty_like(ours)
    blocks: list[Block] = [b for b in (1, 8, 32, 112) if options.size % b == 0]
    for b in [*blocks, "channels"]:
        permutation = block_permutation(options.size, b, seed=0)
        if not torch.equal(shuffle(floats[:2], permutation), unfold_permute_fold(floats[:2], permutation, b)):
            raise SystemExit(f"the two disagree at b = {b}")
        runs = {
            "slow": lambda p=permutation, b=b: unfold_permute_fold(floats, p, b),
            "gather": lambda p=permutation: shuffle(ours, p),
            "clone": ours.clone,
            "copy": lambda: existing.copy_(ours),
        }
        seconds: dict[str, list[float]] = {name: [] for name in runs}
        for repeat in range(options.repeats + 1):
            for name, run in runs.items():
                start = time.process_time()
                run()
                if repeat:  # the first round only warms up
                    seconds[name].append(time.process_time() - start)
        times = {name: np.array(taken) * 1e3 for name, taken in seconds.items()}
        line = "  ".join(f"{name} {np.median(taken):6.1f}" for name, taken in times.items())
        ratios = {"slow / gather": times["slow"] / times["gather"]}
        ratios |= {f"gather / {name}": times["gather"] / times[name] for name in ("clone", "copy")}
        shown = "  ".join(f"{k} {np.median(r):5.2f} ({r.min():.2f}-{r.max():.2f})" for k, r in ratios.items())
        print(f"  b = {b!s:8} {line}   {shown}")


if __name__ == "__main__":
    main()
