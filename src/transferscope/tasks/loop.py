"""The training loop of every arm: plain, resumable at any batch, and a pure function of its parameters.

It is long because every number of a training run stands on one page.
"""

import math
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import save_file as save_arrays
from safetensors.torch import load_file, save_file
from torch import Tensor

from transferscope.answers import metric
from transferscope.atomic_files import write_json
from transferscope.data.absent_classes import decides
from transferscope.data.table import Table
from transferscope.engine.task_context import Interrupted, Work
from transferscope.errors import UserError
from transferscope.probes.answers.predictions import logits
from transferscope.tasks import frozen, inputs, live_curve, resume, run_setup
from transferscope.tasks.costs import EVAL_BATCH
from transferscope.tasks.data_parallel import Helpers, helped
from transferscope.tasks.learner import Learner
from transferscope.tasks.recipe import Run
from transferscope.tasks.schedule import kept, stops
from transferscope.tasks.update import Update

SAVE_EVERY = 30.0  # seconds between saves, so that a kill costs no more than that
WHOLE = ("whole_val_loss", "whole_val_metric", "whole_test_loss", "whole_test_metric")
AVERAGED = tuple(name.replace("whole", "ema", 1) for name in WHOLE)
UNREAD_BATCHES = 50  # on a GPU


def fit(table: Table, start: run_setup.Start, recipe: Run, work: Work) -> list[dict[str, Any]]:
    """Train from `start` on the table's training rows; the rows, files and errors of `tasks.train`."""
    torch.set_num_threads(work.threads)
    run = _Run(table, start, recipe, work)
    run.spare()
    if not run.now.rows:
        run.save_weights("epoch-0000")
        run.evaluate()
    with run.helped():
        while run.now.epoch < recipe.epochs:
            if stops(run.now.rows, recipe.early_stopping):
                run.stand()
            else:
                run.epoch()
    return run.finish()


class _Run(Learner):
    """One training run in its scratch folder; `now` is where it stands."""

    def __init__(self, table: Table, start: run_setup.Start, recipe: Run, work: Work) -> None:
        super().__init__(table, start, recipe, work)
        self.start, self.work, self.folder = start, work, work.folder
        self.schedule = recipe.learning_rates(recipe.lr)
        self.fed = inputs.Fed(recipe.mean, recipe.std, recipe.shuffle, recipe.seed, recipe.prepare)
        self.chooses = decides(table.labels[table.rows[recipe.best_on]])  # else the last epoch is the best
        self.metric = self.objective.metric
        self.watched = run_setup.watched_rows(self.rows, self.labels, self.metric, recipe.evaluate, recipe.seed)
        self.optimizer = run_setup.optimiser(self.net, recipe)
        self.update = Update(self.net, self.optimizer, recipe)
        self.now = resume.load(self.folder, self.net, self.optimizer, self.update.averaged) or resume.Progress(
            recipe.first_epoch
        )
        self.lowered = 1.0  # what val has made of the learning rate
        self.saved = time.monotonic()
        self.best: dict[str, Tensor] | None = None  # weights of the best epoch, where they are not on disk yet
        self.seen: dict[str, np.ndarray] = {}  # logits of the last evaluation, by split
        self.unread: list[tuple[Tensor, Tensor | None, int, str]] = []  # (loss, right, images, where) of batches
        self.helpers: Helpers | None = None  # the other processes that train this run
        self.patience = 1 if work.device == "cpu" else UNREAD_BATCHES

    def spare(self) -> None:
        """Compute once what is frozen, where that is exact; the time it takes is time of training."""
        # Under adapters all is trained; passes of a compiled network cannot start in the middle.
        if self.adapters or self.work.options.get("compile"):
            return
        self.spared = frozen.spared(
            self.net,
            self.frozen,
            kind=self.kind,
            table=self.table,
            labels=self.labels,
            recipe=self.recipe,
            rows=self.rows,
            watched=self.watched,
            work=self.work,
        )
        if self.spared is not None and not self.now.rows:
            self.now.seconds += self.spared.seconds

    @contextmanager
    def helped(self) -> Iterator[None]:
        """Inside, the batches of the run are shared with the other processes that it may have. What is frozen and
        computed once leaves them nothing worth sharing."""
        if self.work.processes == 1 or self.spared is not None or self.now.epoch == self.recipe.epochs:
            yield
            return
        with helped(self, self.start, self.work) as self.helpers:
            self.group = self.update.group = self.helpers.group
            yield

    # -- one epoch -----------------------------------------------------------------------------------------------

    def epoch(self) -> None:
        """Train one epoch from where the last save left it, then evaluate and save."""
        number = self.now.epoch + 1
        batches = self.batches(number, self.now.batch)
        count = self.now.batch + len(batches)
        self.lowered = self.schedule.lowered(self.now.rows)
        self.train()
        clock = time.perf_counter()
        if self.helpers is not None:
            self.helpers.begin(number, self.now.batch, self.net)
        for x, labels, rows in batches:
            self._batch(x, labels, rows, number, count)
            self.now.seconds += time.perf_counter() - clock
            clock = time.perf_counter()
            if not self.update.complete(self.now.batch, count):
                continue  # gradients that wait for more are not saved
            if self.work.stopping():
                self.save(last=True)
                raise Interrupted
            self._save_now_and_then()
        self._read()  # waits for a GPU, whose work is training time
        self.now.seconds += time.perf_counter() - clock
        self.evaluate()
        if number < self.recipe.epochs and self._kept(number):
            self.save_weights(f"epoch-{number:04d}")
        self._save_now_and_then()

    def _batch(self, x: Tensor, labels: Tensor, rows: np.ndarray, number: int, count: int) -> None:
        now, recipe = self.now, self.recipe
        rate = self.schedule.at(number - 1 + self.update.first(now.batch) / count) * self.lowered
        loss, told, right, images = self.loss(x, labels, rows, number, now.batch)
        weight = images if recipe.mean_over == "images" else 1
        now.updates = self.update.take(loss, rate, now.batch, count, now.updates, weight)
        where = f"epoch {number}, batch {now.batch + 1} of {count} (arm {self.recipe.arm}, lr {rate:.4g})"
        self.unread.append((told, right, images, where))
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

    def stand(self) -> None:
        """One more epoch of a run that has stopped: the scores and weights of the one before."""
        now = self.now
        now.epoch += 1
        unspent = {"lr": 0.0, "running_loss": None, "running_accuracy": None, "stopped": True}
        now.rows.append({**now.rows[-1], "epoch": now.epoch, **unspent})
        if now.epoch < self.recipe.epochs and self._kept(now.epoch):
            self.save_weights(f"epoch-{now.epoch:04d}")

    def _kept(self, epoch: int) -> bool:
        return kept(epoch, self.recipe.keep, self.schedule, self.recipe.save_every)

    # -- evaluation ----------------------------------------------------------------------------------------------

    def predict(self, rows: np.ndarray) -> np.ndarray:
        """Logits of some rows of the table, in their order, which need not be that of the passes."""
        places = None if self.spared else inputs.quickest(self.kind, self.table, rows)
        if places is not None:
            out = self._passes(rows[places], replace(self.fed, trimmed=True))
            return out[np.argsort(places)]
        return self._passes(rows, self.fed)

    def _passes(self, rows: np.ndarray, fed: inputs.Fed) -> np.ndarray:
        """Logits of some rows in the order of the passes."""
        batches = self.kind.evaluation(self.table, rows, self.labels, fed, batch_size=EVAL_BATCH, device=self.device)
        merged = self.adapters.merged() if self.adapters else nullcontext()  # as with the weights that are saved
        plain = self.net, (x for x, _, _ in batches)
        net, given = self.spared.evaluation(rows, batches) if self.spared else plain
        with closing(given) as xs, merged:
            try:
                return logits(net, xs, device=self.device, precision=self.recipe.precision)
            except frozen.Drift:
                self.spared = None
        return self._passes(rows, fed)

    def state(self) -> dict[str, Tensor]:
        """The weights of the network by its own names, what adapters learnt among them."""
        return self.adapters.state() if self.adapters else self.net.state_dict()

    def evaluate(self) -> None:
        """Close the epoch: one row of metrics of the watched images, and the best weights when val improved."""
        self._read()
        now, began = self.now, time.perf_counter()
        number = now.epoch + 1 if now.rows else now.epoch
        row: dict[str, Any] = {
            "epoch": number,
            "metric": self.metric,
            **self.objective.facts,
            "lr": self.schedule.at(number),
            "running_loss": now.loss / now.images if now.rows else None,
            "running_accuracy": now.right / now.images if now.rows and self.objective.counts else None,
        }
        self.seen = {split: self.predict(self.watched[split]) for split in ("train", "val", "test")}
        for split, out in self.seen.items():
            row[f"{split}_loss"], row[f"{split}_metric"] = self._score(split, self.watched[split], out, number)
        if self.watched is not self.rows:
            row |= dict.fromkeys(WHOLE)
        if self.update.averaged:
            row |= dict.fromkeys(AVERAGED)
        if self.recipe.early_stopping is not None:
            row["stopped"] = False
        if self.recipe.best_on != "val":
            row["best_on"] = self.recipe.best_on
        now.rows.append(row)
        row["lr"] *= self.schedule.lowered(now.rows)
        score = row[f"{self.recipe.best_on}_metric"]
        if len(now.rows) > 1 and self.chooses and score is not None and score > now.best:
            now.best, now.best_epoch = score, number
            self.best = resume.plain(self.state())
        now.timing.append({"epoch": number, "train_seconds": now.seconds, "eval_seconds": time.perf_counter() - began})
        now.epoch, now.batch, now.images, now.loss, now.right, now.seconds = number, 0, 0.0, 0.0, 0.0, 0.0
        live_curve.write(self.folder, now.rows)
        self.work.tell(
            epoch=number,
            epochs=self.recipe.epochs,
            metric=metric(self.metric).told(row["val_metric"]),
            batch=0,
            batches=1,
        )

    def _score(self, split: str, rows: np.ndarray, out: np.ndarray, number: int) -> tuple[float, float | None]:
        try:
            return self.objective.scores(out, self.labels[rows])
        except ValueError as error:
            where = f"epoch {number}, arm {self.recipe.arm}, lr {self.schedule.lr:.4g}"
            raise UserError(f"The {split} outputs cannot be scored ({where}): {error}") from None

    # -- files ---------------------------------------------------------------------------------------------------

    def _save_now_and_then(self) -> None:
        if time.monotonic() - self.saved > SAVE_EVERY:
            self.save()

    def save(self, *, last: bool = False) -> None:
        """What a later process goes on from. The best weights first: progress that knows of them finds them there."""
        self._read()
        best = self._save_best()
        resume.save(self.folder, self.net, self.optimizer, self.now, self.update.averaged)
        for other in self.folder.glob("best-*"):
            if other != best:
                other.unlink()
        self.work.share(last)
        self.saved = time.monotonic()

    def _save_best(self) -> Path:
        """The best weights so far in a file named by their epoch, which earlier progress never refers to."""
        file = self.folder / f"best-{self.now.best_epoch:04d}.safetensors"
        if self.best is not None:
            save_file(self.best, scratch := file.with_suffix(".part"))
            scratch.replace(file)
            self.best = None
        return file

    def save_weights(self, name: str) -> None:
        save_file(resume.plain(self.state()), self.folder / f"{name}.safetensors")

    def finish(self) -> list[dict[str, Any]]:
        """Evaluate the last and the best weights on all images, and leave only what later steps read."""
        now = self.now
        self.save_weights("final")
        seen = {split: out for split, out in self.seen.items() if self.watched[split] is self.rows[split]}
        self._conclude("final", self.recipe.epochs, seen)
        if self.update.averaged:
            self.net.load_state_dict(self.update.averaged)
            self.save_weights("ema")
            self._conclude("ema", self.recipe.epochs, {})
        if self.adapters:
            self.adapters.remove()
        if now.best_epoch in (0, self.recipe.epochs):  # 0: val was never defined, so the last epoch is all there is
            now.best_epoch = self.recipe.epochs
            for kind in ("", "predictions-"):
                shutil.copy(self.folder / f"{kind}final.safetensors", self.folder / f"{kind}best.safetensors")
        else:
            best = self._save_best()
            shutil.copy(best, self.folder / "best.safetensors")
            self.net.load_state_dict(load_file(best))
            self._conclude("best", now.best_epoch, {})
        write_json(self.folder / "timing.json", now.timing)
        loaded = asdict(self.loaded) if self.loaded else None
        stopped = {"trained": sum(not row["stopped"] for row in now.rows) - 1} if self.recipe.early_stopping else {}
        how = {"frozen_once": True} if self.spared else {"processes": self.work.processes} if self.helpers else {}
        write_json(self.folder / "run.json", {"best_epoch": now.best_epoch, "loaded": loaded, **stopped, **how})
        live_curve.clear(self.folder)
        resume.clear(self.folder)  # before the weights that it refers to
        for file in self.folder.glob("best-*"):
            file.unlink()
        return now.rows

    def _conclude(self, name: str, number: int, seen: Mapping[str, np.ndarray]) -> None:
        """Logits of all val and test images under a name; in the epoch's row their scores, if a sample was watched or
        the weights are the averaged ones.

        `seen`: the logits that are known already, by split.
        """
        found = {split: seen[split] if split in seen else self.predict(self.rows[split]) for split in ("val", "test")}
        outputs = {split: np.ascontiguousarray(out) for split, out in found.items()}
        save_arrays(outputs, self.folder / f"predictions-{name}.safetensors")
        row = next(row for row in self.now.rows if row["epoch"] == number)
        for split, out in outputs.items():
            scores = self._score(split, self.rows[split], out, number)
            if name == "ema" or self.watched is not self.rows:
                whole = "ema" if name == "ema" else "whole"
                row[f"{whole}_{split}_loss"], row[f"{whole}_{split}_metric"] = scores
