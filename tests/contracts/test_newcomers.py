"""One new file adds an analysis, a source, a kind of input, networks, weights, an optimiser, an augmentation or an
executor.

Each is added twice: as a file of the project's folder (put beside it, on the package's path), and as anyone's module by
its dotted name. Then its contract is run on it, alone.
"""

import importlib
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import newcomers
import pytest
import yaml
from contract import analyses, augmentations, executors, inputs, networks, optimisers, sources, weights
from smoke import study as smoke

from transferscope import battery
from transferscope.errors import UserError
from transferscope.study import Study

FILES = {
    "analysis": ("transferscope.analyses", "last_loss"),
    "source": (sources.PACKAGE, "rings"),
    "input": (inputs.PACKAGE, "series"),
    "networks": (networks.PACKAGE, "stacks"),
    "weights": (weights.PACKAGE, "drawn"),
    "optimiser": (optimisers.PACKAGE, "spared"),
    "augmentation": (augmentations.PACKAGE, "dimmed"),
    "executor": ("transferscope.engine.executors", "single"),
}
WAYS = ("a file of the folder", "a module of one's own")
Add = Callable[[str], ModuleType]


@pytest.fixture
def put(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Add]:
    """``put("source")`` adds the newcomer of that kind as a file to the folder where the project's own are."""
    added: list[tuple[ModuleType, str]] = []

    def add(kind: str) -> ModuleType:
        package, name = FILES[kind]
        folder = tmp_path / "put" / kind
        folder.mkdir(parents=True)
        shutil.copy(Path(newcomers.__path__[0]) / f"{name}.py", folder)
        home = importlib.import_module(package)
        monkeypatch.setattr(home, "__path__", [*home.__path__, str(folder)])
        importlib.invalidate_caches()
        added.append((home, name))
        return importlib.import_module(f"{package}.{name}")

    yield add
    for home, name in added:
        sys.modules.pop(f"{home.__name__}.{name}", None)
        delattr(home, name)


@pytest.fixture(params=WAYS)
def add(request: pytest.FixtureRequest, put: Add) -> Add:
    """A newcomer added in either way."""
    if request.param == WAYS[0]:
        return put
    return lambda kind: importlib.import_module(f"newcomers.{FILES[kind][1]}")


def called(module: ModuleType, kind: str) -> str:
    return module.__name__.removeprefix(f"{FILES[kind][0]}.")


def test_an_analysis(add: Add, tmp_path: Path) -> None:
    module = add("analysis")
    name = called(module, "analysis")
    changes = {"analyses": f"[{name}]", "recipe.epochs": "1"}
    analyses.check_analysis(analyses.finished(smoke.write(tmp_path / "study"), name, **changes))


def test_a_source_of_images(add: Add, tmp_path: Path) -> None:
    module = add("source")
    sources.check_source(module, tmp_path, f"{called(module, 'source')}:5")


def test_a_kind_of_input(add: Add, tmp_path: Path) -> None:
    inputs.check_input(add("input"), "newcomers.waves:30", "newcomers.series:small", tmp_path)


def test_a_family_of_networks(put: Add) -> None:
    networks.check_family(put("networks"))


def test_a_factory_of_networks() -> None:
    networks.check_network("newcomers.stacks:three")


def test_a_source_of_weights(add: Add, tmp_path: Path) -> None:
    weights.check_weights(add("weights"), tmp_path)


def test_an_optimiser(add: Add, tmp_path: Path) -> None:
    optimisers.check_optimiser(add("optimiser"), tmp_path)


def test_an_augmentation(add: Add) -> None:
    augmentations.check_augmentation(add("augmentation"), least=0.3)


def test_an_executor(add: Add, tmp_path: Path) -> None:
    executors.check_executor(called(add("executor"), "executor"), tmp_path)


def everything(add: Add) -> dict[str, object]:
    """A study in which everything is new."""
    named = {kind: called(add(kind), kind) for kind in FILES if kind != "input"}
    network = "stacks:3" if named["networks"] == "stacks" else "newcomers.stacks:three"
    recipe = {"epochs": 1, "batch_size": 16, "lr": 0.01, "precision": "float32", "optimizer": named["optimiser"]}
    return {
        "targets": {"shapes": f"{named['source']}:30"},
        "network": network,
        "pretrained": f"{named['weights']}:7",
        "image_size": 32,
        "seeds": 1,
        "recipe": {**recipe, "augment": {"then": [{named["augmentation"]: {"least": 0.2}}, "cutmix"]}},
        "analyses": {named["analysis"]: {}},
        "resources": {"device": "cpu", "slots": 1, "executor": named["executor"]},
    }


def test_a_study_of_nothing_but_newcomers(add: Add, tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(everything(add)), encoding="utf-8")
    study = Study.load(tmp_path / "study.yaml")
    plan, store = battery.plan(study)
    store.prepare()
    executor = battery.executor(study, plan.todo(store))
    assert type(executor).__name__ == "Single"
    outcomes = executor.run(plan.todo(store), store, lambda *_: None)
    assert {outcome.status for outcome in outcomes.values()} == {"done"}, outcomes
    results = battery.results(study, outcomes)
    assert not results.incomplete and not results.problems
    page = results.report.read_text(encoding="utf-8")
    assert "The last loss" in page and "On shapes, the test loss of pretrained ends at" in page


def test_they_are_listed_and_looked_up_by_name(put: Add, call, tmp_path: Path) -> None:
    for kind in FILES:
        put(kind)
    said = call("ls").out
    for _, name in FILES.values():
        assert f"  {name}" in said
    for key, sentence in {
        "targets=[ring:5]": "did you mean 'rings'",
        "network=stack:3": "did you mean 'stacks'",
        "pretrained=drwn:1": "did you mean 'drawn'",
        "recipe.optimizer=spard": "did you mean 'spared'",
        "recipe.augment.then=dimed": "did you mean 'dimmed'",
        "recipe.augment.then={dimmed: {lest: 0.1}}": "'dimmed' has no option 'lest'; did you mean 'least'",
        "recipe.momentum=0.5": "recipe.momentum: 'spared' pays no heed to it",
        "resources.executor=singl": "did you mean 'single'",
    }.items():
        raw = {"targets": ["rings:5"], "network": "stacks:3", "recipe": {"lr": 0.1, "optimizer": "spared"}}
        raw["pretrained"] = "drawn:1"
        (tmp_path / "study.yaml").write_text(yaml.safe_dump(raw), encoding="utf-8")
        with pytest.raises(UserError, match=sentence):
            Study.load(tmp_path / "study.yaml", dict([key.split("=", 1)]))
