"""Tokens a second of training on texts, one thread: transferscope against the Trainer of Hugging Face.

Run `python benchmarks/text.py` (MiniLM-L6 and BBC News; it needs '.[minilm-l6,bbcnews]' and accelerate), minutes of
processor time. Every run is a process of its own, started alike (a worker's environment, one thread), rivals in turn:
one epoch on the same texts, tokenised before, with the same network, batch size, precision, AdamW and clipped
gradients. `ours` is the loop of a study; `trainer` pads every batch to its longest text, `grouped` is the same with
texts of like length in a batch. Tokens are those of the texts, padding not counted; seconds are processor time of the
epoch, without evaluation and saving. Articles are read up to a share of their words, so that lengths are spread as
theirs are and a run is short.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import torch

from machine import precisions, say

NETWORK, LR, CLIP, HELD_OUT = "package:minilm-l6", 1e-4, 1.0, 16
Result = dict[str, Any]


def write_texts(file: Path, count: int, share: float) -> None:
    """`count` articles to train on, a few for val and test, each up to a share of its words."""
    import numpy as np

    from transferscope.data import open_listing

    listing = open_listing("bbcnews:")
    chosen = np.random.default_rng(0).permutation(len(listing.names))[: count + 2 * HELD_OUT]
    words = [listing.load(int(row)).split() for row in chosen]
    table = {
        "text": [" ".join(each[: max(8, round(share * len(each)))]) for each in words],
        "label": [listing.classes[listing.labels[row]] for row in chosen],
        "split": ["train"] * count + ["val"] * HELD_OUT + ["test"] * HELD_OUT,
    }
    pl.DataFrame(table).write_csv(file)


def opened(given: argparse.Namespace) -> tuple[Any, Any, Any]:
    """The study of the texts, its store and its table, tokenised."""
    from transferscope.engine.store import Store
    from transferscope.engine.work import Work
    from transferscope.engine.worker import execute
    from transferscope.study import Study
    from transferscope.tasks.inputs import open_table

    recipe = {"epochs": 1, "batch_size": given.batch, "lr": LR, "optimizer": "adamw", "clip_grad": CLIP}
    study = Study.parse(
        {
            "input": {"text": {"max_length": given.max_length}},
            "targets": {"news": f"csv:{given.file}"},
            "network": NETWORK,
            "arms": ["random"],
            "recipe": {**recipe, "schedule": "constant", "precision": given.precision, "evaluate": HELD_OUT},
        },
        folder=Path(given.scratch),
    )
    store, step = Store(study.store_folder), study.data("news")
    store.prepare()
    outcome = execute(step.job, store, Work(store.root, cores=1, threads=1))
    assert outcome.status == "done", outcome.error
    return study, store, open_table(store.get(step).path)


def ours(given: argparse.Namespace) -> Result:
    """A training run of a study: the processor seconds of its epoch, without those of evaluations."""
    from transferscope.engine.work import Work
    from transferscope.engine.worker import execute
    from transferscope.tasks import loop

    study, store, table = opened(given)
    spent: list[float] = []
    computed: list[int] = []

    def batch(self: Any, x: torch.Tensor, *more: Any) -> None:
        computed.append(x.numel())
        one(self, x, *more)

    def epoch(self: Any) -> None:
        began = time.process_time()
        self.evaluate = lambda: spent.append(time.process_time() - began)  # where training is over
        whole(self)
        del self.evaluate
        self.evaluate()

    one, loop._Run._batch = loop._Run._batch, batch
    whole, loop._Run.epoch = loop._Run.epoch, epoch
    run = study.run("news", "random", given.seed)
    outcome = execute(run.job, store, Work(store.root, cores=1, threads=1))
    assert outcome.status == "done", outcome.error
    return {"seconds": spent[0], "tokens": _tokens(table), "computed": sum(computed)}


def trainer(given: argparse.Namespace, sampling: str = "random") -> Result:
    """The library's Trainer on the same tokens."""
    from torch.nn.utils.rnn import pad_sequence
    from transformers import Trainer, TrainingArguments

    from transferscope.models.build import build_network

    study, _, table = opened(given)
    texts = [
        {"input_ids": torch.from_numpy(table.tokens[row, : table.lengths[row]].astype("int64")), "length": length}
        for row, length in zip(table.rows["train"], table.lengths[table.rows["train"]].tolist(), strict=True)
    ]
    for text, label in zip(texts, table.labels[table.rows["train"]].tolist(), strict=True):
        text["labels"] = label
    computed: list[int] = []

    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = build_network(study.network, len(table.classes), seed=given.seed)

        def forward(self, input_ids: torch.Tensor, labels: torch.Tensor) -> Result:
            computed.append(input_ids.numel())
            logits = self.net(input_ids)
            return {"loss": torch.nn.functional.cross_entropy(logits, labels), "logits": logits}

    def collate(batch: list[Result]) -> Result:
        tokens = pad_sequence([text["input_ids"] for text in batch], batch_first=True, padding_value=-1)
        return {"input_ids": tokens, "labels": torch.tensor([text["labels"] for text in batch])}

    how = TrainingArguments(
        output_dir=given.scratch,
        per_device_train_batch_size=given.batch,
        num_train_epochs=1,
        learning_rate=LR,
        lr_scheduler_type="constant",
        max_grad_norm=CLIP,
        optim="adamw_torch",
        bf16=given.precision == "bfloat16",
        train_sampling_strategy=sampling,
        length_column_name="length",
        remove_unused_columns=False,
        dataloader_pin_memory=False,
        save_strategy="no",
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
        seed=given.seed,
    )
    made = Trainer(Net(), how, train_dataset=texts, data_collator=collate)  # type: ignore[arg-type]
    began = time.process_time()
    made.train()
    return {"seconds": time.process_time() - began, "tokens": _tokens(table), "computed": sum(computed)}


def _tokens(table: Any) -> int:
    return int(table.lengths[table.rows["train"]].sum())


RIVALS: dict[str, Callable[[argparse.Namespace], Result]] = {
    "ours": ours,
    "trainer": trainer,
    "grouped": lambda given: trainer(given, "group_by_length"),
}


def started(name: str, given: argparse.Namespace, file: Path, seed: int, precision: str) -> Result:
    from transferscope.engine.environment import worker_environment

    with tempfile.TemporaryDirectory() as scratch:
        said = {"one": name, "file": file, "scratch": scratch, "seed": seed, "precision": precision}
        said |= {"batch": given.batch, "max-length": given.max_length}
        command = [
            sys.executable,
            __file__,
            *(word for key, value in said.items() for word in (f"--{key}", str(value))),
        ]
        environment = os.environ | worker_environment(1)
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    return dict(json.loads(done.stdout.splitlines()[-1]))


def told(precision: str, runs: dict[str, list[Result]]) -> None:
    for name, found in runs.items():
        rates = [one["tokens"] / one["seconds"] for one in found]
        padding = statistics.median(1 - one["tokens"] / one["computed"] for one in found)
        line = f"  {precision:8s} {name:8s} {statistics.median(rates):7.0f} tokens a CPU second"
        line += f" ({min(rates):.0f} to {max(rates):.0f}), {padding:.1%} of what is computed is padding"
        ratios = [a["seconds"] / b["seconds"] for a, b in zip(runs["trainer"], found, strict=True)]
        print(f"{line}; {statistics.median(ratios):.2f}x the Trainer ({min(ratios):.2f} to {max(ratios):.2f})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=256)
    parser.add_argument("--share", type=float, default=0.125, help="of the words of every article")
    parser.add_argument("--max-length", type=int, default=128)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--precisions", nargs="+", default=precisions())
    for hidden in ("--one", "--file", "--scratch", "--precision"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        torch.set_num_threads(1)
        print(json.dumps(RIVALS[given.one](given)))
        return
    say(" and ".join(given.precisions))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "texts.csv"
        write_texts(file, given.texts, given.share)
        for precision in given.precisions:
            runs: dict[str, list[Result]] = {name: [] for name in RIVALS}
            for seed in range(given.repeats):
                for name in RIVALS:
                    runs[name].append(started(name, given, file, seed, precision))
            told(precision, runs)


if __name__ == "__main__":
    main()
