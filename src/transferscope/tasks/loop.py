"""The training loop of every arm: plain, resumable at any batch, and a pure function of its parameters."""

import json
import math
import time
from dataclasses import asdict, dataclass, field
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
from transferscope.data.table import Table
from transferscope.engine.store import write_json
from transferscope.engine.work import Interrupted, Work
from transferscope.errors import UserError
from transferscope.measures import metrics
from transferscope.models import inits
from transferscope.models.build import build_network, seeded
from transferscope.models.precision import prepare, running
from transferscope.probes.predictions import logits
from transferscope.streams import stream_seed
from transferscope.tasks.schedule import Schedule

SAVE_EVERY = 30.0  # seconds between saves inside an epoch; every epoch's end is saved too
EVAL_BATCH = 256


@dataclass(frozen=True)
class Start:
    """Where a run starts: see `models.inits`."""

    network: str
    arm: str
    weights: str | None
    min_share: float
    seed: int
    head_seed: int


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


@dataclass
class _Progress:
    """All that changes while training, besides tensors: what a save must hold."""

    epoch: int = 0  # the last one finished
    batch: int = 0  # batches done of the next one
    images: float = 0.0  # sums over those batches
    loss: float = 0.0
    right: float = 0.0
    best: float = -math.inf
    best_epoch: int = 0
    rows: list[dict[str, Any]] = field(default_factory=list)
    timing: list[dict[str, Any]] = field(default_factory=list)


def fit(table: Table, start: Start, recipe: Recipe, work: Work) -> list[dict[str, Any]]:
    """Train `start` on the table's training rows; the rows, files and errors of `tasks.train`."""
    torch.set_num_threads(work.threads)
    run = _Run(table, start, recipe, work)
    if not run.resumed():
        run.save_weights("epoch-0000")
        run.evaluate(clock=time.perf_counter())
        run.save()
    while run.now.epoch < recipe.epochs:
        run.epoch()
    run.finish()
    return run.now.rows


class _Run:
    """One training run in its scratch folder."""

    def __init__(self, table: Table, start: Start, recipe: Recipe, work: Work) -> None:
        self.table, self.start, self.recipe, self.work = table, start, recipe, work
        self.folder, self.device = work.folder, work.device
        self.train_rows = table.rows["train"]
        self.metric = metrics.metric_name(len(table.classes), table.multilabel)
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
        self.net: nn.Module = prepare(net, recipe.precision, work.device)
        self.optimizer = torch.optim.SGD(
            self.net.parameters(),
            lr=recipe.schedule.lr,
            momentum=recipe.momentum,
            nesterov=recipe.nesterov,
            weight_decay=recipe.weight_decay,
        )
        self.now = _Progress()
        self.saved = time.monotonic()

    # -- one epoch -----------------------------------------------------------------------------------------------

    def epoch(self) -> None:
        """Train one epoch from where the last save left it, then evaluate and save."""
        number = self.now.epoch + 1
        began = time.perf_counter()
        batches = Batches(
            self.table,
            self.train_rows,
            self.table.labels,
            size=self.table.size("eval"),
            batch_size=self.recipe.batch_size,
            seed=self.start.seed,
            epoch=number,
            augment=self.recipe.augment,
            normalisation=self.recipe.normalisation,
            start_batch=self.now.batch,
            device=self.device,
        )
        count = math.ceil(len(self.train_rows) / self.recipe.batch_size)
        self.net.train()
        for x, labels, _ in batches:
            self._batch(x, labels, number, count)
            if self.work.stopping():
                self.save()
                raise Interrupted
            if time.monotonic() - self.saved > SAVE_EVERY:
                self.save()
        self.evaluate(clock=began)
        if number & (number - 1) == 0 and number < self.recipe.epochs:
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
        loss = self._loss(out, y, recipe.label_smoothing)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        value = float(loss.detach())
        if not math.isfinite(value):
            raise UserError(
                f"The training loss became {value} in epoch {number}, batch {now.batch + 1} of {count} "
                f"(arm {self.start.arm}, lr {group['lr']:.4g}): lower recipe.lr for this arm."
            )
        now.batch += 1
        now.images += len(labels)
        now.loss += value * len(labels)
        if not self.table.multilabel:
            now.right += float(y.gather(1, out.detach().argmax(1, keepdim=True)).sum())
        self.work.tell(epoch=number, epochs=recipe.epochs, batch=now.batch, batches=count)

    def _loss(self, out: Tensor, y: Tensor, smoothing: float) -> Tensor:
        if self.table.multilabel:
            return F.binary_cross_entropy_with_logits(out, y)
        return F.cross_entropy(out, y, label_smoothing=smoothing)

    # -- evaluation ----------------------------------------------------------------------------------------------

    def predict(self, split: str) -> np.ndarray:
        """Logits of one split in the table's order."""
        batches = eval_batches(
            self.table,
            self.table.rows[split],
            EVAL_BATCH,
            labels=self.table.labels,
            normalisation=self.recipe.normalisation,
            device=self.device,
        )
        images = (x for x, _, _ in batches)
        return logits(self.net, images, device=self.device, precision=self.recipe.precision)

    def evaluate(self, clock: float) -> None:
        """Close the epoch: one row of metrics, and the best weights when val improved."""
        now, first = self.now, not self.now.rows
        number = 0 if first else now.epoch + 1
        trained = time.perf_counter()
        outputs = {split: self.predict(split) for split in ("train", "val", "test")}
        row: dict[str, Any] = {
            "epoch": number,
            "metric": self.metric,
            "lr": self.recipe.schedule.at(number),
            "running_loss": None if first else now.loss / now.images,
            "running_accuracy": None if first or self.table.multilabel else now.right / now.images,
        }
        for split, out in outputs.items():
            labels = self.table.labels[self.table.rows[split]]
            entropy = metrics.binary_cross_entropy if self.table.multilabel else metrics.cross_entropy
            try:
                row[f"{split}_loss"] = entropy(out, labels)
                row[f"{split}_metric"] = metrics.score(out, labels, self.metric)
            except ValueError as error:
                where = f"epoch {number}, arm {self.start.arm}, lr {self.recipe.schedule.lr:.4g}"
                raise UserError(f"The {split} outputs cannot be scored ({where}): {error}") from None
        now.rows.append(row)
        now.epoch, now.batch, now.images, now.loss, now.right = number, 0, 0.0, 0.0, 0.0
        val = row["val_metric"]
        if val is not None and val > now.best and not first:
            now.best, now.best_epoch = val, number
            self.save_weights("best")
            self._save_predictions("best", outputs)
        if number == self.recipe.epochs:
            self.save_weights("final")
            self._save_predictions("final", outputs)
        ended = time.perf_counter()
        now.timing.append({"epoch": number, "train_seconds": trained - clock, "eval_seconds": ended - trained})
        self.work.tell(epoch=number, epochs=self.recipe.epochs, metric=row["val_metric"], batch=0, batches=1)

    # -- files ---------------------------------------------------------------------------------------------------

    def save_weights(self, name: str) -> None:
        save_file(_plain(self.net.state_dict()), self.folder / f"{name}.safetensors")

    def _save_predictions(self, name: str, outputs: dict[str, np.ndarray]) -> None:
        arrays = {split: np.ascontiguousarray(outputs[split]) for split in ("val", "test")}
        save_arrays(arrays, self.folder / f"predictions-{name}.safetensors")

    def save(self) -> None:
        """Everything needed to go on from this batch, in one rename."""
        momenta = {
            f"momentum.{name}": self.optimizer.state[p]["momentum_buffer"]
            for name, p in self.net.named_parameters()
            if p in self.optimizer.state and self.optimizer.state[p].get("momentum_buffer") is not None
        }
        weights = {f"net.{name}": tensor for name, tensor in self.net.state_dict().items()}
        scratch = self.folder / "resume.part"
        said = {"progress": json.dumps(asdict(self.now), allow_nan=True)}
        save_file(_plain({**weights, **momenta}), scratch, metadata=said)
        scratch.replace(self.folder / "resume.safetensors")
        self.saved = time.monotonic()

    def resumed(self) -> bool:
        """Go back to the last save, if there is a whole one."""
        from safetensors import SafetensorError, safe_open

        path = self.folder / "resume.safetensors"
        try:
            with safe_open(path, "pt") as file:
                progress = json.loads(file.metadata()["progress"])
            state = load_file(path)
        except (OSError, SafetensorError):
            return False
        self.net.load_state_dict({n.removeprefix("net."): t for n, t in state.items() if n.startswith("net.")})
        for name, p in self.net.named_parameters():
            if (momentum := state.get(f"momentum.{name}")) is not None:
                layout = torch.channels_last if p.ndim == 4 else torch.contiguous_format
                self.optimizer.state[p]["momentum_buffer"] = momentum.to(self.device, memory_format=layout)
        self.now = _Progress(**progress)
        return True

    def finish(self) -> None:
        """Leave only what later steps read."""
        now = self.now
        if not (self.folder / "best.safetensors").exists():  # val was never defined: the last epoch is all there is
            for name in ("", "predictions-"):
                final = self.folder / f"{name}final.safetensors"
                (self.folder / f"{name}best.safetensors").write_bytes(final.read_bytes())
            now.best_epoch = self.recipe.epochs
        write_json(self.folder / "timing.json", now.timing)
        said = {"best_epoch": now.best_epoch, "loaded": asdict(self.loaded) if self.loaded else None}
        write_json(self.folder / "run.json", said)
        for leftover in ("resume.safetensors", "resume.part"):
            Path(self.folder / leftover).unlink(missing_ok=True)


def _plain(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors as safetensors wants them: on the CPU, contiguous, none sharing memory with another."""
    return {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in state.items()}
