"""Tokens a second of training on texts, one thread: transferscope against the Trainer of Hugging Face.

Run `python benchmarks/text.py` (MiniLM-L6 and BBC News; it needs '.[minilm-l6,bbcnews]' and accelerate), minutes of
processor time. Every run is a process of its own, forked from one that has the libraries loaded and a worker's
environment, rivals in turn: one epoch on the same texts, tokenised before, with the same network, batch size,
precision, AdamW and clipped gradients. `ours` is the loop of a study; `trainer` pads every batch to its longest text,
`grouped` is the same with texts of like length in a batch. Tokens are those of the texts, padding not counted; seconds
are processor time of the epoch, without evaluation and saving. Articles are read up to a share of their words, so that
lengths are spread as theirs are and a run is short.
"""

import argparse
import multiprocessing
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


def opened(given: argparse.Namespace, precision: str) -> tuple[Any, Any, Any]:
    """The study of the texts, its store and its table, tokenised."""
    from transferscope.engine.store import Store
    from transferscope.engine.task_context import Work
    from transferscope.engine.worker import execute
    from transferscope.study import Study
    from transferscope.tasks.inputs import open_table

    recipe = {"epochs": 1, "batch_size": given.batch, "lr": LR, "optimizer": "adamw", "clip_grad": CLIP}
    study = Study.parse(
        {
            "input": {"text": {"max_length": given.max_length}},
            "targets": {"news": f"csv:{given.folder}/texts.csv"},
            "network": NETWORK,
            "arms": ["random"],
            "recipe": {**recipe, "schedule": "constant", "precision": precision, "evaluate": HELD_OUT},
        },
        folder=given.folder,
    )
    store, step = Store(study.store_folder), study.data("news")
    store.prepare()
    if not store.has(step):
        outcome = execute(step.job, store, Work(store.root, cores=1, threads=1))
        assert outcome.status == "done", outcome.error
    return study, store, open_table(store.get(step).path)


def ours(given: argparse.Namespace, precision: str, seed: int) -> Result:
    """A training run of a study: the processor seconds of its epoch, without those of evaluations."""
    from transferscope.engine.task_context import Work
    from transferscope.engine.worker import execute
    from transferscope.tasks import loop

    study, store, table = opened(given, precision)
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
    run = study.run("news", "random", seed)
    outcome = execute(run.job, store, Work(store.root, cores=1, threads=1))
    assert outcome.status == "done", outcome.error
    return {"seconds": spent[0], "tokens": _tokens(table), "computed": sum(computed)}


def trainer(given: argparse.Namespace, precision: str, seed: int, sampling: str = "random") -> Result:
    """The library's Trainer on the same tokens."""
    from torch.nn.utils.rnn import pad_sequence
    from transformers import Trainer, TrainingArguments

    from transferscope.models.build import build_network

    study, _, table = opened(given, precision)
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
            self.net = build_network(study.network, len(table.classes), seed=seed)

        def forward(self, input_ids: torch.Tensor, labels: torch.Tensor) -> Result:
            computed.append(input_ids.numel())
            logits = self.net(input_ids)
            return {"loss": torch.nn.functional.cross_entropy(logits, labels), "logits": logits}

    def collate(batch: list[Result]) -> Result:
        tokens = pad_sequence([text["input_ids"] for text in batch], batch_first=True, padding_value=-1)
        return {"input_ids": tokens, "labels": torch.tensor([text["labels"] for text in batch])}

    how = TrainingArguments(
        output_dir=str(given.folder / "trainer"),
        per_device_train_batch_size=given.batch,
        num_train_epochs=1,
        learning_rate=LR,
        lr_scheduler_type="constant",
        max_grad_norm=CLIP,
        optim="adamw_torch",
        bf16=precision == "bfloat16",
        train_sampling_strategy=sampling,
        length_column_name="length",
        remove_unused_columns=False,
        dataloader_pin_memory=False,
        save_strategy="no",
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
        seed=seed,
    )
    made = Trainer(Net(), how, train_dataset=texts, data_collator=collate)  # type: ignore[arg-type]
    began = time.process_time()
    made.train()
    return {"seconds": time.process_time() - began, "tokens": _tokens(table), "computed": sum(computed)}


def _tokens(table: Any) -> int:
    return int(table.lengths[table.rows["train"]].sum())


def grouped(given: argparse.Namespace, precision: str, seed: int) -> Result:
    return trainer(given, precision, seed, "group_by_length")


RIVALS: dict[str, Callable[[argparse.Namespace, str, int], Result]] = {
    "ours": ours,
    "trainer": trainer,
    "grouped": grouped,
}


def forked(rival: str, *arguments: Any) -> Result:
    """What a rival returns in a process of its own."""
    context = multiprocessing.get_context("fork")
    near, far = context.Pipe(duplex=False)
    child = context.Process(target=lambda: far.send(RIVALS[rival](*arguments)))
    child.start()
    far.close()
    try:
        return dict(near.recv())
    except EOFError:
        raise SystemExit(f"{rival} failed") from None
    finally:
        child.join()


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
    parser.add_argument("--texts", type=int, default=192)
    parser.add_argument("--share", type=float, default=0.0625, help="of the words of every article")
    parser.add_argument("--max-length", type=int, default=128)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--precisions", nargs="+", default=precisions())
    parser.add_argument("--started", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if not given.started:
        from transferscope.engine.environment import worker_environment

        command = [sys.executable, __file__, *sys.argv[1:], "--started"]
        raise SystemExit(subprocess.run(command, env=os.environ | worker_environment(1), check=False).returncode)
    import transformers  # noqa: F401  # loading libraries is nobody's training time

    torch.set_num_threads(1)
    say(" and ".join(given.precisions))
    with tempfile.TemporaryDirectory() as folder:
        given.folder = Path(folder)
        write_texts(given.folder / "texts.csv", given.texts, given.share)
        for precision in given.precisions:
            opened(given, precision)
            runs: dict[str, list[Result]] = {name: [] for name in RIVALS}
            for seed in range(given.repeats):
                for name in RIVALS:
                    runs[name].append(forked(name, given, precision, seed))
                    print(precision, seed, name, runs[name][-1], flush=True)
            told(precision, runs)


if __name__ == "__main__":
    main()
