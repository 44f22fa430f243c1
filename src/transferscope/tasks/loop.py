"""The training loop of every arm: plain, resumable at any batch, and a pure function of its parameters."""

import math
import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.numpy import save_file as save_arrays
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from transferscope.data.augment import Augment
from transferscope.data.batches import Batches, Normalisation, eval_batches, mixup
from transferscope.data.shuffle import block_permutation, image_permutations
from transferscope.data.split import nested_fraction
from transferscope.data.table import Table
from transferscope.engine.store import write_json
from transferscope.engine.work import Interrupted, Work
from transferscope.errors import UserError
from transferscope.measures import metrics
from transferscope.models import inits
from transferscope.models.blocks import top_parameters
from transferscope.models.build import build_network, seeded
from transferscope.models.precision import prepare, running
from transferscope.probes.predictions import logits
from transferscope.streams import stream, stream_seed
from transferscope.tasks import resume
from transferscope.tasks.schedule import Schedule, kept

SAVE_EVERY = 30.0  # seconds between saves inside an epoch; every epoch's end is saved too
EVAL_BATCH = 256
UNREAD_BATCHES = 50  # on a GPU


@dataclass(frozen=True)
class Start:
    """Where a run starts: an arm (see `models.inits`), or the weights in the file `begin` at the end of `epoch`."""

    network: str
    arm: str
    weights: str | None
    min_share: float
    seed: int
    head_seed: int
    begin: Path | None = None
    epoch: int = 0


@dataclass(frozen=True)
class Recipe:
    """What `tasks.train` was asked for, with the lr search resolved."""

    epochs: int
    batch_size: int
    schedule: Schedule
    momentum: float
    nesterov: bool
    weight_decay: float
    mixup: float
    label_smoothing: float
    augment: Augment | None
    precision: str
    normalisation: Normalisation
    shuffle: dict[str, Any] | None = None
    fraction: float = 1.0
    trainable: str = "all"
    labels: str = "true"
    keep: str = "log"


def fit(table: Table, start: Start, recipe: Recipe, work: Work) -> list[dict[str, Any]]:
    """Train `start` on the table's training rows; the rows, files and errors of `tasks.train`."""
    torch.set_num_threads(work.threads)
    run = _Run(table, start, recipe, work)
    if not run.now.rows:
        run.save_weights("epoch-0000")
        run.evaluate()
        run.save()
    while run.now.epoch < recipe.epochs:
        run.epoch()
    return run.finish()


class _Run:
    """One training run in its scratch folder; `now` is where it stands."""

    def __init__(self, table: Table, start: Start, recipe: Recipe, work: Work) -> None:
        self.table, self.start, self.recipe, self.work = table, start, recipe, work
        self.folder, self.device = work.folder, work.device
        self.rows = dict(table.rows)
        if recipe.fraction < 1:
            self.rows["train"] = nested_fraction(table.labels, table.rows["train"], recipe.fraction, seed=start.seed)
        self.metric = metrics.metric_name(len(table.classes), table.multilabel)
        self.labels = self._labels()
        self.permutation = self._permutation()
        net = build_network(start.network, len(table.classes), seed=start.seed)
        self.loaded = inits.start(
            start.arm,
            net,
            network=start.network,
            classes=len(table.classes),
            weights=start.weights,
            seed=start.seed,
            head_seed=start.head_seed,
            min_share=start.min_share,
        )
        if start.begin is not None:
            net.load_state_dict(load_file(start.begin))
        self.net: nn.Module = prepare(net, recipe.precision, work.device)
        if work.options.get("compile"):
            self.net.compile()  # in place: the names of the weights stay
        self.frozen = self._freeze()
        self.optimizer = torch.optim.SGD(
            [p for p in self.net.parameters() if p.requires_grad],
            lr=recipe.schedule.lr,
            momentum=recipe.momentum,
            nesterov=recipe.nesterov,
            weight_decay=recipe.weight_decay,
        )
        self.now = resume.load(self.folder, self.net, self.optimizer) or resume.Progress(start.epoch)
        self.saved = time.monotonic()
        self.unread: list[tuple[Tensor, Tensor | None, int, str]] = []  # (loss, right, images, where) of batches
        self.patience = 1 if work.device == "cpu" else UNREAD_BATCHES

    def _labels(self) -> np.ndarray:
        """The table's labels; "random": shuffled over the images of each split, so that only memory can learn them."""
        if self.recipe.labels == "true":
            return self.table.labels
        labels = self.table.labels.copy()
        for split, rows in self.table.rows.items():
            order = stream(self.start.seed, "labels", split).permutation(len(rows))
            labels[rows] = self.table.labels[rows[order]]
        return labels

    def _permutation(self) -> Any:
        """The fixed block permutation of a shuffled run, or a function giving every image its own."""
        if (how := self.recipe.shuffle) is None:
            return None
        size, seed, block = self.table.size("eval"), self.start.seed, how["block"]
        if how.get("per_image"):
            return lambda rows: image_permutations(rows, size, block, seed=seed)
        return block_permutation(size, block, seed=seed)

    def _freeze(self) -> list[nn.Module]:
        """Freeze what the recipe does not train; the modules that hold nothing trainable stay in eval mode."""
        if self.recipe.trainable == "all":
            return []
        kept = top_parameters(self.net, self.recipe.trainable, len(self.table.classes))
        for name, p in self.net.named_parameters():
            p.requires_grad_(name in kept)
        modules = dict(self.net.named_modules())
        return [m for m in modules.values() if not any(p.requires_grad for p in m.parameters())]

    # -- one epoch -----------------------------------------------------------------------------------------------

    def epoch(self) -> None:
        """Train one epoch from where the last save left it, then evaluate and save."""
        number = self.now.epoch + 1
        batches = Batches(
            self.table,
            self.rows["train"],
            self.labels,
            size=self.table.size("eval"),
            batch_size=self.recipe.batch_size,
            seed=self.start.seed,
            epoch=number,
            augment=self.recipe.augment,
            normalisation=self.recipe.normalisation,
            permutation=self.permutation,
            start_batch=self.now.batch,
            device=self.device,
        )
        count = self.now.batch + len(batches)
        self.net.train()
        for module in self.frozen:
            module.eval()
        clock = time.perf_counter()
        for x, labels, _ in batches:
            self._batch(x, labels, number, count)
            self.now.seconds += time.perf_counter() - clock
            clock = time.perf_counter()
            if self.work.stopping():
                self.save()
                raise Interrupted
            if time.monotonic() - self.saved > SAVE_EVERY:
                self.save()
        self.evaluate()
        if number < self.recipe.epochs and kept(number, self.recipe.keep, self.recipe.schedule):
            self.save_weights(f"epoch-{number:04d}")
        self.save()

    def _batch(self, x: Tensor, labels: Tensor, number: int, count: int) -> None:
        now, recipe = self.now, self.recipe
        y = labels.float() if self.table.multilabel else F.one_hot(labels, len(self.table.classes)).float()
        if recipe.mixup > 0:
            x, y = mixup(x, y, alpha=recipe.mixup, seed=self.start.seed, epoch=number, batch=now.batch)
        for group in self.optimizer.param_groups:
            group["lr"] = recipe.schedule.at(number - 1 + now.batch / count)
        with (
            seeded(stream_seed(self.start.seed, "dropout", number, now.batch), self.device),
            running(recipe.precision, self.device),
        ):
            out = self.net(x).float()
        loss = self._loss(out, y)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        right = None if self.table.multilabel else y.gather(1, out.detach().argmax(1, keepdim=True)).sum()
        where = f"epoch {number}, batch {now.batch + 1} of {count} (arm {self.start.arm}, lr {group['lr']:.4g})"
        self.unread.append((loss.detach(), right, len(labels), where))
        now.batch += 1
        if len(self.unread) >= self.patience:
            self._read()
        self.work.tell(epoch=number, epochs=recipe.epochs, batch=now.batch, batches=count)

    def _read(self) -> None:
        """Add up what the last batches gave. Reading waits for the device, so a GPU is asked for many at once."""
        for loss, right, count, where in self.unread:
            value = float(loss)
            if not math.isfinite(value):
                raise UserError(f"The training loss became {value} in {where}: lower recipe.lr for this arm.")
            self.now.images += count
            self.now.loss += value * count
            self.now.right += float(right) if right is not None else 0.0
        self.unread.clear()

    def _loss(self, out: Tensor, y: Tensor) -> Tensor:
        if self.table.multilabel:
            return F.binary_cross_entropy_with_logits(out, y)
        return F.cross_entropy(out, y, label_smoothing=self.recipe.label_smoothing)

    # -- evaluation ----------------------------------------------------------------------------------------------

    def predict(self, split: str) -> np.ndarray:
        """Logits of one split in the table's order."""
        batches = eval_batches(
            self.table,
            self.rows[split],
            EVAL_BATCH,
            labels=self.labels,
            normalisation=self.recipe.normalisation,
            permutation=self.permutation,
            device=self.device,
        )
        images = (x for x, _, _ in batches)
        return logits(self.net, images, device=self.device, precision=self.recipe.precision)

    def evaluate(self) -> None:
        """Close the epoch: one row of metrics, and the best weights when val improved."""
        self._read()
        now, began = self.now, time.perf_counter()
        number = now.epoch + 1 if now.rows else now.epoch
        outputs = {split: self.predict(split) for split in ("train", "val", "test")}
        row: dict[str, Any] = {
            "epoch": number,
            "metric": self.metric,
            "lr": self.recipe.schedule.at(number),
            "running_loss": now.loss / now.images if now.rows else None,
            "running_accuracy": now.right / now.images if now.rows and not self.table.multilabel else None,
        }
        for split, out in outputs.items():
            row[f"{split}_loss"], row[f"{split}_metric"] = self._score(split, out, number)
        now.rows.append(row)
        val = row["val_metric"]
        if len(now.rows) > 1 and val is not None and val > now.best:
            now.best, now.best_epoch = val, number
            self.save_weights("best", outputs)
        if number == self.recipe.epochs:
            self.save_weights("final", outputs)
        now.timing.append({"epoch": number, "train_seconds": now.seconds, "eval_seconds": time.perf_counter() - began})
        now.epoch, now.batch, now.images, now.loss, now.right, now.seconds = number, 0, 0.0, 0.0, 0.0, 0.0
        self.work.tell(epoch=number, epochs=self.recipe.epochs, metric=val, batch=0, batches=1)

    def _score(self, split: str, out: np.ndarray, number: int) -> tuple[float, float | None]:
        labels = self.labels[self.rows[split]]
        entropy = metrics.binary_cross_entropy if self.table.multilabel else metrics.cross_entropy
        try:
            return entropy(out, labels), metrics.score(out, labels, self.metric)
        except ValueError as error:
            where = f"epoch {number}, arm {self.start.arm}, lr {self.recipe.schedule.lr:.4g}"
            raise UserError(f"The {split} outputs cannot be scored ({where}): {error}") from None

    # -- files ---------------------------------------------------------------------------------------------------

    def save(self) -> None:
        self._read()
        resume.save(self.folder, self.net, self.optimizer, self.now)
        self.saved = time.monotonic()

    def save_weights(self, name: str, outputs: dict[str, np.ndarray] | None = None) -> None:
        """The weights under a name, and the val and test logits they give."""
        save_file(resume.plain(self.net.state_dict()), self.folder / f"{name}.safetensors")
        if outputs is not None:
            arrays = {split: np.ascontiguousarray(outputs[split]) for split in ("val", "test")}
            save_arrays(arrays, self.folder / f"predictions-{name}.safetensors")

    def finish(self) -> list[dict[str, Any]]:
        """Leave only what later steps read; the rows of the run."""
        now = self.now
        if not now.best_epoch:  # val was never defined: the last epoch is all there is
            now.best_epoch = self.recipe.epochs
            for kind in ("", "predictions-"):
                shutil.copy(self.folder / f"{kind}final.safetensors", self.folder / f"{kind}best.safetensors")
        write_json(self.folder / "timing.json", now.timing)
        loaded = asdict(self.loaded) if self.loaded else None
        write_json(self.folder / "run.json", {"best_epoch": now.best_epoch, "loaded": loaded})
        resume.clear(self.folder)
        return now.rows
