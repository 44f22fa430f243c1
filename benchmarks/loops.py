"""The loops that transferscope is timed against: the paper's, timm's pieces, a Lightning Trainer, as users write them.

All train the network `benchmarks/train.py` names from the same initial weights, with the same crops' law, flips,
normalisation and learning rates, and after every epoch evaluate on the training and the test images and save.
"""

import argparse
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from transferscope.data.batches import IMAGENET_MEAN, IMAGENET_STD
from transferscope.models.build import build_network
from transferscope.tasks.schedule import Schedule

CLASSES = 8
SCALE, RATIO = (0.35, 1.0), (3 / 4, 4 / 3)
LR, MOMENTUM, DECAY = 0.05, 0.9, 1e-4
Result = dict[str, Any]


def folders(given: argparse.Namespace, train_transform: Any, eval_transform: Any) -> tuple[Any, Any, Any]:
    """Training images, the same for evaluation, and test images."""
    from torchvision.datasets import ImageFolder

    root = Path(given.folder)
    return (
        ImageFolder(root / "train", train_transform),
        ImageFolder(root / "train", eval_transform),
        ImageFolder(root / "test", eval_transform),
    )


def transforms(size: int) -> tuple[Any, Any]:
    from torchvision import transforms as t

    finish = [t.ToTensor(), t.Normalize(IMAGENET_MEAN, IMAGENET_STD)]
    crop = [t.RandomResizedCrop(size, scale=SCALE, ratio=RATIO), t.RandomHorizontalFlip()]
    return t.Compose(crop + finish), t.Compose([t.Resize((size, size)), *finish])


def schedule(given: argparse.Namespace) -> Schedule:
    return Schedule("cosine", LR, given.epochs, 1.0, (), 0.1)


def accuracy(net: torch.nn.Module, loader: Any) -> float:
    net.eval()
    right = seen = 0
    with torch.no_grad():
        for x, y in loader:
            right += int((net(x).argmax(1) == y).sum())
            seen += len(y)
    return right / seen


def paper(given: argparse.Namespace) -> Result:
    """The loop of the paper's code on this torch: PIL, a DataLoader, NCHW float32, SGD."""
    from torch.utils.data import DataLoader

    torch.manual_seed(given.seed)
    train, again, test = folders(given, *transforms(given.size))
    loader = DataLoader(train, given.batch, shuffle=True)
    evals = [DataLoader(d, 256) for d in (again, test)]
    net = build_network(given.network, CLASSES, seed=given.seed)
    optimizer = torch.optim.SGD(net.parameters(), LR, MOMENTUM, weight_decay=DECAY)
    rates = schedule(given)
    for epoch in range(given.epochs):
        net.train()
        for number, (x, y) in enumerate(loader):
            for group in optimizer.param_groups:
                group["lr"] = rates.at(epoch + number / len(loader))
            loss = F.cross_entropy(net(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            loss.item()
        scores = [accuracy(net, e) for e in evals]
        torch.save({"net": net.state_dict(), "optimizer": optimizer.state_dict()}, Path(given.scratch) / "last.pt")
    return {"train": scores[0], "test": scores[1]}


def timm(given: argparse.Namespace) -> Result:
    """timm's own pieces, put together as its train.py does for a CPU."""
    from timm.data import create_dataset, create_loader
    from timm.optim import create_optimizer_v2
    from timm.scheduler import create_scheduler_v2
    from timm.utils import CheckpointSaver

    torch.manual_seed(given.seed)
    options = {
        "input_size": (3, given.size, given.size),
        "batch_size": given.batch,
        "use_prefetcher": False,
        "mean": IMAGENET_MEAN,
        "std": IMAGENET_STD,
        "num_workers": 0,
        "device": torch.device("cpu"),
    }
    train, again, test = (create_dataset("", root=given.folder, split=s) for s in ("train", "train", "test"))
    loader = create_loader(
        train,
        is_training=True,
        scale=SCALE,
        ratio=RATIO,
        color_jitter=None,
        interpolation="bilinear",
        persistent_workers=False,
        **options,
    )
    evals = [
        create_loader(
            d, interpolation="bilinear", crop_pct=1.0, persistent_workers=False, **options | {"batch_size": 256}
        )
        for d in (again, test)
    ]
    net = build_network(given.network, CLASSES, seed=given.seed)
    optimizer = create_optimizer_v2(net, opt="momentum", lr=LR, momentum=MOMENTUM, weight_decay=DECAY)
    rates, _ = create_scheduler_v2(
        optimizer,
        "cosine",
        num_epochs=given.epochs,
        warmup_epochs=1,
        warmup_lr=LR / 100,
        step_on_epochs=False,
        updates_per_epoch=len(loader),
    )
    saver = CheckpointSaver(net, optimizer, checkpoint_dir=given.scratch, recovery_dir=given.scratch, max_history=2)
    for epoch in range(given.epochs):
        net.train()
        for number, (x, y) in enumerate(loader):
            loss = F.cross_entropy(net(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            rates.step_update(epoch * len(loader) + number + 1)
            loss.item()
        scores = [accuracy(net, e) for e in evals]
        saver.save_checkpoint(epoch, metric=scores[1])
    return {"train": scores[0], "test": scores[1]}


def lightning(given: argparse.Namespace) -> Result:
    """A Lightning Trainer as its guide writes one, with two validation loaders."""
    import lightning
    from torch.utils.data import DataLoader

    rates = schedule(given)
    train, again, test = folders(given, *transforms(given.size))

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = build_network(given.network, CLASSES, seed=given.seed)

        def training_step(self, batch: Any, index: int) -> torch.Tensor:
            loss = F.cross_entropy(self.net(batch[0]), batch[1])
            self.log("loss", loss, on_epoch=True, on_step=False)
            return loss

        def validation_step(self, batch: Any, index: int, dataloader_idx: int = 0) -> None:
            right = (self.net(batch[0]).argmax(1) == batch[1]).float().mean()
            self.log("right", right, batch_size=len(batch[1]))

        def configure_optimizers(self) -> Any:
            optimizer = torch.optim.SGD(self.parameters(), LR, MOMENTUM, weight_decay=DECAY)
            share = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda n: rates.at(n / len(loader)) / LR)
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": share, "interval": "step"}}

    lightning.seed_everything(given.seed, verbose=False)
    loader = DataLoader(train, given.batch, shuffle=True)
    trainer = lightning.Trainer(
        max_epochs=given.epochs,
        accelerator="cpu",
        default_root_dir=given.scratch,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    trainer.fit(Module(), loader, [DataLoader(again, 256), DataLoader(test, 256)])
    found = trainer.callback_metrics
    return {name: float(found[f"right/dataloader_idx_{i}"]) for i, name in enumerate(("train", "test"))}
