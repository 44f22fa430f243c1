"""What lies between two checkpoints on disk? A notebook's worth of lines; nothing is downloaded. About 25 s on one
core.

Small residual networks learn the direction of noisy gratings and are saved: P on one spatial frequency, two fine-tuned
from P on another, two trained on that one from scratch. After that only the files are used, as you would use your own.

Expect no barrier above 2 points of error between the fine-tuned pair (about 96% right all along), and about 60 points
between the two from scratch; 84 if batch norm's statistics are only averaged, and about 25 are left after matching the
channels of one to those of the other. So the fine-tuned pair averages into one network as good as either (96%), the
other pair into one that is right for 40% of the images. Around the fine-tuned pair the error rises both with noise in
every weight and beyond either end: a basin. With other versions of the libraries a few points more or less.
"""

import math
import tempfile
from pathlib import Path

import timm
import torch
from torch import Tensor, nn

import transferscope as ts

CLASSES, SIZE = 8, 32
folder = Path(tempfile.mkdtemp())


def gratings(count: int, waves: float, seed: int) -> tuple[Tensor, Tensor]:
    """Noisy gratings of `waves` waves a side; the class is their direction."""
    draw = torch.Generator().manual_seed(seed)
    labels = torch.randint(CLASSES, (count,), generator=draw)
    phase = torch.rand(count, 1, 1, generator=draw) * 2 * math.pi
    angle = (labels * math.pi / CLASSES).view(-1, 1, 1)
    y, x = torch.meshgrid(torch.linspace(0, 1, SIZE), torch.linspace(0, 1, SIZE), indexing="ij")
    wave = torch.sin(2 * math.pi * waves * (x * angle.cos() + y * angle.sin()) + phase)
    return wave.unsqueeze(1) + 4.5 * torch.randn(count, 3, SIZE, SIZE, generator=draw), labels


def network() -> nn.Module:
    return timm.create_model("test_resnet", num_classes=CLASSES)


def train(name: str, waves: float, seed: int, start: str | None = None, lr: float = 0.05, epochs: int = 4) -> None:
    """Train from `start` (a file, or random weights) and save the state dict as `name`.pt."""
    torch.manual_seed(seed)
    net = network().train()
    if start:
        net.load_state_dict(torch.load(folder / start))
    images, labels = gratings(1024, waves, seed=1)
    steps = epochs * 16
    optimizer = torch.optim.SGD(net.parameters(), lr=lr, momentum=0.9, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(epochs):
        for rows in torch.randperm(len(images)).split(64):
            loss = nn.functional.cross_entropy(net(images[rows]), labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    torch.save(net.state_dict(), folder / f"{name}.pt")


train("P", waves=4, seed=0)
for seed in (1, 2):
    train(f"tuned-{seed}", waves=6, seed=seed, start="P.pt", lr=0.02, epochs=2)
    train(f"scratch-{seed}", waves=6, seed=seed)

# --- from here on there are only files ------------------------------------------------------------------------------


def read(name: str) -> nn.Module:
    net = network()
    net.load_state_dict(torch.load(folder / f"{name}.pt"))
    return net.eval()


test, train_images = gratings(500, 6, seed=2), gratings(1024, 6, seed=1)[0][:250]
batches = list(zip(test[0].split(250), test[1].split(250), strict=True))
statistics = [train_images]  # batch norm needs new statistics at every point of the line: training images

for kind in ("tuned", "scratch"):
    a, b = read(f"{kind}-1"), read(f"{kind}-2")
    found = ts.path(a, b, batches, statistics=statistics)  # .chart() draws it, .save("path.safetensors") keeps it
    print(f"--- {kind}: barrier {found.barrier(kind='frankle').text()} on {found.n[0]} images ---")
    print(found.table().select("alpha", "error", "loss"))
    plain = ts.path(a, b, batches, batch_norm="average")
    print(f"with averaged batch-norm statistics instead: {plain.barrier(kind='frankle').text()}")
    print(ts.average([a, b], batches, statistics=statistics).table())  # one network instead of two

a, b = read("scratch-1"), read("scratch-2")
matched = ts.align(a, b).permuted(b)  # the same function, its channels in the order of a's
found = ts.path(a, matched, batches, statistics=statistics)
print(f"--- scratch, channels matched: {found.barrier(kind='frankle').text()} ---")

a, b = read("tuned-1"), read("tuned-2")
print(
    ts.basin(
        a, b, batches, statistics=statistics, samples=8, draws=3, per_weight=(0.01, 0.02, 0.04), images=125
    ).table()
)
