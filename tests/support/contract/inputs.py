"""The contract of a kind of input: tables that can be read again, batches that depend on seed, epoch and row alone."""

import inspect
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
import yaml

from contract.opening import called, check_first_line, check_light
from transferscope import battery
from transferscope.engine.store import Store
from transferscope.errors import UserError
from transferscope.study import Study
from transferscope.tasks import inputs
from transferscope.tasks.recipe import Run

PACKAGE = "transferscope.tasks.inputs"
SHUFFLE = {"block": 4}


def check_input(module: ModuleType, ref: str, network: str, folder: Path) -> None:
    """The whole contract, on the source `ref` of at least 40 examples and a network for them; `folder` is empty."""
    check_first_line(module)
    check_light(module)
    for name in inputs.FUNCTIONS:
        assert inspect.getdoc(getattr(module, name)), f"say what '{name}' does"
    study = study_of(called(module, PACKAGE), ref, network, folder)
    store = made(study)
    kind = study.kind
    step = study.data("examples")
    assert inputs.of_step(step) is kind
    table = inputs.open_table(store.get(step).path)
    check_table(kind, study, table)
    runs = [run_of(study, seed=seed) for seed in (0, 1)]
    check_training(kind, table, runs[0], runs[1])
    check_evaluation(kind, table, runs[0])
    check_shuffle(kind, table, runs[0])
    check_study(study)


def study_of(name: str, ref: str, network: str, folder: Path) -> Study:
    recipe = {"epochs": 2, "batch_size": 7, "lr": 0.02, "precision": "float32"}
    raw = {
        "input": name,
        "targets": {"examples": ref},
        "network": network,
        "image_size": 32,
        "arms": ["random"],
        "seeds": 2,
        "recipe": recipe,
        "analyses": {"transfer": {}, "distance": {}, "similarity": {}, "barrier": {"alphas": 3}, "rewind": {}},
        "resources": {"device": "cpu", "executor": "inline"},
    }
    (folder / "study.yaml").write_text(yaml.safe_dump(raw), encoding="utf-8")
    return Study.load(folder / "study.yaml")


def made(study: Study) -> Store:
    """The store once the table is in it."""
    _, store = battery.plan(study)
    store.prepare()
    step = study.data("examples")
    outcomes = battery.executor(study, [step]).run([step], store, lambda *_: None)
    assert outcomes[step.key].status == "done", outcomes[step.key].error
    return store


def run_of(study: Study, seed: int, **changes: Any) -> Run:
    params = dict(study.run("examples", "random", seed, **changes).params)
    return Run.read({name: value for name, value in params.items() if name in Run.model_fields})


def check_table(kind: inputs.Kind, study: Study, table: Any) -> None:
    """As many labels as rows, every split with rows, and examples like those that were foretold."""
    params = study.data("examples").params
    assert len(table) == len(table.labels) == sum(len(rows) for rows in table.rows.values())
    assert all(len(rows) for rows in table.rows.values())
    for which, foretold in kind.examples(params).items():
        here = table.example(which)  # of texts perhaps fewer tokens than may be
        assert here == foretold or (foretold.vocabulary and here.shape <= foretold.shape)
    assert kind.stored_bytes(params) >= kind.examples(params)["eval"].bytes
    assert isinstance(kind.look(study.listing(study.targets["examples"]), params), list)
    assert study.example.example(3).shape == (3, *study.example.shape)


def taken(batches: Any) -> list[tuple[torch.Tensor, torch.Tensor, np.ndarray]]:
    return [(x.clone(), y, rows) for x, y, rows in batches]


def by_row(batches: Any) -> dict[int, torch.Tensor]:
    """Every input by its row; of texts without the padding behind it, which hangs on the batch."""
    found = {int(row): one for x, _, rows in batches for one, row in zip(x, rows, strict=True)}
    return {row: one if one.is_floating_point() else one[one >= 0] for row, one in found.items()}


def check_training(kind: inputs.Kind, table: Any, run: Run, other: Run) -> None:
    """Every row once an epoch, the same for one seed and epoch, from any batch on, whatever else is in the batch."""
    rows = table.rows["train"]

    def epoch(of: Run = run, number: int = 1, start: int = 0, among: np.ndarray = rows) -> Any:
        return kind.training(table, among, table.labels, of, epoch=number, start=start, device="cpu")

    batches = taken(epoch())
    assert len(epoch()) == len(batches) > 2
    seen = np.concatenate([rows for _, _, rows in batches])
    assert sorted(seen) == sorted(rows) and list(seen) != sorted(rows)
    for x, y, at in batches:
        shape = table.example("eval").shape
        assert x.shape[1:] == shape or (not x.is_floating_point() and x.shape[1:] < shape)
        assert x.dtype == (torch.float32 if table.example("eval").vocabulary is None else torch.int64)
        assert np.array_equal(y.numpy(), table.labels[at])
    assert len(epoch(start=2)) == len(batches) - 2
    for again in (taken(epoch()), [*batches[:2], *taken(epoch(start=2))]):
        assert all(torch.equal(a[0], b[0]) for a, b in zip(batches, again, strict=True))
    whole, fewer = by_row(batches), by_row(epoch(among=rows[::2]))
    assert fewer and all(torch.equal(x, whole[row]) for row, x in fewer.items())
    for others in (taken(epoch(number=2)), taken(epoch(of=other))):
        assert list(np.concatenate([rows for _, _, rows in others])) != list(seen)


def check_evaluation(kind: inputs.Kind, table: Any, run: Run) -> None:
    """In the order that was asked, the same every time and in batches of any size."""
    fed, rows = inputs.Fed(run.mean, run.std), table.rows["test"][::-1].copy()

    def look(size: int) -> list[tuple[torch.Tensor, torch.Tensor, np.ndarray]]:
        return taken(kind.evaluation(table, rows, table.labels, fed, batch_size=size, device="cpu"))

    batches = look(3)
    assert np.array_equal(np.concatenate([at for _, _, at in batches]), rows)
    assert all(np.array_equal(y.numpy(), table.labels[at]) for _, y, at in batches)
    whole = torch.cat([x for x, _, _ in look(len(rows))])
    assert torch.equal(torch.cat([x for x, _, _ in batches]), whole) and whole.shape[1:] == table.example("eval").shape
    places = inputs.quickest(kind, table, rows)
    assert places is None or sorted(places) == list(range(len(rows)))
    trimmed = replace(fed, trimmed=True)
    short = by_row(kind.evaluation(table, rows, table.labels, trimmed, batch_size=3, device="cpu"))
    assert all(torch.equal(x, short[row]) for row, x in by_row(batches).items()), "less padding, and nothing else"


def check_shuffle(kind: inputs.Kind, table: Any, run: Run) -> None:
    """A shuffle keeps the values of an input and moves them, by the seed; or it is refused in a sentence."""
    rows = table.rows["test"][:4]

    def look(shuffle: dict[str, Any] | None, seed: int = 0) -> torch.Tensor:
        fed = inputs.Fed(run.mean, run.std, shuffle, seed)
        ((x, _, _),) = kind.evaluation(table, rows, table.labels, fed, batch_size=len(rows), device="cpu")
        return x

    plain = look(None)
    try:
        moved = look(SHUFFLE)
    except UserError:
        return
    assert not torch.equal(moved, plain) and torch.equal(look(SHUFFLE), moved)
    assert not torch.equal(look(SHUFFLE, seed=1), moved)
    assert torch.equal(moved.flatten(1).sort().values, plain.flatten(1).sort().values)


def check_study(study: Study) -> None:
    """A study of it is planned, checked, run and reported; it learns, and every probe reads it."""
    from transferscope import preflight

    plan, store = battery.plan(study)
    said = [*preflight.quick(study, plan, store), *preflight.deep(study, plan)]
    assert all(one.ok for one in said), [one.said for one in said if not one.ok]
    found = battery.forecast(study, store, plan.steps, ask=True)
    assert found.total(plan.steps, 1).seconds is not None
    outcomes = battery.executor(study, plan.todo(store)).run(plan.todo(store), store, lambda *_: None)
    assert {outcome.status for outcome in outcomes.values()} <= {"done"}, [
        o.error for o in outcomes.values() if o.error
    ]
    results = battery.results(study, outcomes)
    assert not results.incomplete and not results.problems, results.problems
    rows = store.get(study.run("examples", "random", 0)).rows
    assert rows[-1]["train_loss"] < rows[0]["train_loss"]
