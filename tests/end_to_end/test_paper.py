"""The studies of examples/paper: each plans the runs that the paper had, and runs from end to end in miniature."""

import itertools
import shutil
from collections import Counter
from pathlib import Path

import official
import pytest
import torch
from smoke.command import inside

from transferscope import analyses, battery
from transferscope.engine.plan import Plan
from transferscope.engine.table import gather
from transferscope.engine.task_context import Work
from transferscope.engine.worker import execute
from transferscope.models.fixup_resnet import fixup_resnet14
from transferscope.study import Study

PAPER = Path(__file__).parents[2] / "examples" / "paper"
STUDIES = sorted(path.stem for path in PAPER.glob("*.yaml"))
NETWORK = "transferscope.models.fixup_resnet:fixup_resnet14"
FILMS = {"targets.chexpert": "chexpert:CheXpert-v1.0-small#40"}
SMALL = {
    "network": NETWORK,
    "image_size": "32",
    "recipe.table_size": "32",
    "recipe.epochs": "2",
    "recipe.batch_size": "16",
    "resources.device": "cpu",
}
# What makes a study quick in miniature, besides fewer targets and seeds.
QUICK = {
    "basin": {"analyses.basin": "{per_weight: [0.01], samples: 3, draws: 2, images: 8, statistics: 8, limit: 0.2}"},
    "barrier-domainnet": {"analyses.barrier.alphas": "3"},
    "barrier-chexpert": {
        f"analyses.{name}.alphas": "3" for name in ("barrier", "barrier-best", "barrier-low", "barrier-best-low")
    },
    "figure-1-and-3-shuffle": {
        "analyses.shuffle.blocks": "[channels, 8]",
        "analyses.shuffle-low": "{type: shuffle, blocks: [8], draws: paper, recipe: {lr: 0.0025}}",
    },
    "figure-6-criticality": {
        "analyses.criticality": "{alphas: 2, sigmas: 2, draws: 1, images: 16, valleys: none}",
        "analyses.criticality-path": "{type: criticality, path: optimisation, sigmas: 2, draws: 1, images: 16}",
    },
    "appendix-domainnet": {"analyses.crossdomain": "{points: 3, images: 16, statistics: 16}"},
}


def on_films(name: str) -> bool:
    return (
        "chexpert"
        in (PAPER / f"{name}.yaml").read_text(encoding="utf-8").partition("\nanalyses")[0].split("extends")[-1]
    )


def moved() -> torch.nn.Module:
    """A small network whose scalars are not those of a fresh one."""
    net = fixup_resnet14(7)
    for p in net.parameters():
        if p.numel() == 1:
            torch.nn.init.normal_(p, p.item(), 0.01)
    return net


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The studies, with tiny trees in the official formats beside them and weights of an untrained network."""
    root = tmp_path_factory.mktemp("paper")
    for name in STUDIES:
        shutil.copy(PAPER / f"{name}.yaml", root)
    for domain in ("real", "clipart", "quickdraw"):
        official.domainnet(root / "domainnet", domain)
    official.chexpert(root / "CheXpert-v1.0-small", 90)
    torch.manual_seed(1)
    (root / "imagenet").mkdir()
    official.checkpoint(root / "fixup_resnet50_imagenet.pth", moved(), 90)
    for epoch in (0, 1, 2, 5, 10, 29, 30, 31, 59, 60, 61, 89, 90):
        official.checkpoint(root / "imagenet" / f"ckpt-E{epoch:03d}.pth.tar", moved(), epoch)
    return root


def planned(folder: Path, name: str, **changes: str) -> tuple[Study, Plan]:
    study = Study.load(folder / f"{name}.yaml", {**({} if not on_films(name) else FILMS), **changes})
    return study, battery.plan(study)[0]


def trainings(plan: Plan) -> Counter[str]:
    """The training runs of every analysis, each once."""
    found = {(cell.analysis, cell.step.key) for cell in plan.cells if cell.step.task == "train"}
    return Counter(analysis for analysis, _ in found)


def test_the_published_settings(folder: Path) -> None:
    for name in STUDIES:
        study, plan = planned(folder, name)
        assert study.recipe.lr_scale == {"*bias*": 0.1, "*scale*": 0.1} and study.recipe.weight_decay == 1e-4
        assert study.recipe.evaluate == "all" and study.recipe.precision == "float32" and study.image_size == 224
        run = next(one for one in plan.steps if one.task == "train").params
        if on_films(name):
            assert study.recipe.epochs == {"random": 400, "pretrained": 200} and run["mixup"] == 0
            assert study.recipe.best_on == "test" and run["schedule"] == "constant" and run["batch_size"] == 256
        else:
            assert run["epochs"] == 100 and run["mixup"] == 0.7 and run["batch_size"] == 32
            assert study.recipe.learning_rates(0.0125).drops() == (30, 60, 90)


def test_shuffling_has_the_published_432_runs(folder: Path) -> None:
    study, plan = planned(folder, "figure-1-and-3-shuffle")
    assert trainings(plan) == {"shuffle": 234, "shuffle-low": 234}
    runs = {cell.step.key: cell.step.params for cell in plan.cells if cell.step.task == "train"}
    shuffled = [run for run in runs.values() if run["shuffle"] is not None]
    assert (len(shuffled), len(runs)) == (432, 468)
    assert {run["augment"] for run in map(dict, runs.values()) if True} == {None}
    assert {run["lr"] for run in shuffled} == {0.0125, 0.0025} and all(run["shuffle"]["published"] for run in shuffled)
    assert {run["shuffle"]["block"] for run in shuffled} == {"channels", 1, 2, 4, 7, 8, 14, 16, 28, 32, 56, 112}
    assert study.seeds == (0, 1, 2)


def test_checkpoints_have_the_published_78_runs(folder: Path) -> None:
    _, plan = planned(folder, "figure-7-checkpoints")
    assert trainings(plan) == {"checkpoint": 39, "checkpoint-low": 39}
    assert {cell.labels["pretrained_epochs"] for cell in plan.cells if cell.step.task == "train"} == {
        *(0, 1, 2, 5, 10, 29, 30, 31, 59, 60, 61, 89, 90)
    }


def test_lines_have_50_and_20_points(folder: Path) -> None:
    for name, points in (("barrier-domainnet", 50), ("barrier-chexpert", 20)):
        _, plan = planned(folder, name)
        lines = [step.params for step in plan.steps if step.task == "line"]
        assert lines and {line["alphas"] for line in lines} == {points}
        assert all(line["images"]["test"] == 50_000 for line in lines)


def test_the_eleven_lines_of_chexpert(folder: Path) -> None:
    """As the published code lists them: fine-tuned at 0.02, from scratch at 0.1 or 0.02, best (*) and last networks."""
    _, plan = planned(folder, "barrier-chexpert")
    found = set()
    for cell in plan.cells:
        if cell.step.task == "line":
            ends = []
            for side in "ab":
                run = cell.step.params[side].params
                at = "*" if cell.step.params[f"{side}_at"] == "best" else "T"
                ends.append(f"{'ft' if run['arm'] == 'pretrained' else 'ri'} {run['lr']}{at}")
            found.add(tuple(sorted(ends)))
    ft, ri, low = "ft 0.02", "ri 0.1", "ri 0.02"
    listed = [(f"{net}{at}", f"{net}{at}") for net in (ft, ri, low) for at in "*T"]
    listed += [(f"{net}*", f"{net}T") for net in (ft, ri, low)] + [(f"{ft}*", f"{ri}*"), (f"{ft}*", f"{low}*")]
    assert len(listed) == 11 and set(listed) <= found


def test_the_valleys_of_figure_6_have_40_by_20_cells(folder: Path) -> None:
    _, plan = planned(folder, "figure-6-criticality")
    steps = {cell.analysis: cell.step.params for cell in plan.cells if cell.step.task == "criticality"}
    assert {name: step["path"] for name, step in steps.items()} == {
        "criticality": "direct",
        "criticality-path": "optimisation",
    }
    assert steps["criticality"]["valley_alphas"] == 40
    for step in steps.values():
        assert step["valley_sigmas"] == [round(0.025 * level, 3) for level in range(1, 21)]


def test_both_rates_of_figure_2(folder: Path) -> None:
    for name, rates in (("figure-2-domainnet", {0.0125, 0.0025}), ("figure-2-chexpert", {0.1, 0.02})):
        _, plan = planned(folder, name)
        runs = [step.params for step in plan.steps if step.task == "train"]
        assert {(run["arm"], run["lr"]) for run in runs} == set(itertools.product(("random", "pretrained"), rates))
        lengths = {run["arm"]: run["epochs"] for run in runs}
        assert lengths == ({"random": 400, "pretrained": 200} if on_films(name) else dict.fromkeys(lengths, 100))


def test_plan_prints_the_runs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = [f"{key}={value}" for key, value in SMALL.items() if key in ("network", "image_size")]
    sets = [word for one in small for word in ("--set", one)]
    blocks = ("--set", "analyses.shuffle.blocks=[channels,8]", "--set", "analyses.shuffle-low.blocks=[channels,8]")
    said = inside(capsys, "plan", folder / "figure-1-and-3-shuffle.yaml", *sets, *blocks)
    assert said.code == 0, said.err
    assert "114 steps (108 of them training runs), 0 cached" in " ".join(said.out.split())


def test_a_plan_tells_runs_apart(folder: Path) -> None:
    """Those of two rates by their analyses, and those that only an analysis needs by their seeds."""
    for name in STUDIES:
        if name != "figure-1-and-3-shuffle":
            _, plan = planned(folder, name)
            labels = plan.labels()
            told = [(step.task, str(labels[step.key])) for step in plan.steps if labels[step.key]]
            assert len(told) == len(set(told)), name
    _, plan = planned(folder, "figure-5-rewind")
    labels = plan.labels()
    runs = [labels[step.key] for step in plan.steps if step.task == "train"]
    assert {"arm": "random", "lr": 0.1, "seed": 2, "target": "chexpert"} in runs and len(runs) == 9
    rewound = [labels[cell.step.key] for cell in plan.cells if cell.step.task == "rewind"]
    assert {"target": "chexpert", "arm": "random", "seed": 0, "analysis": "rewind-low"} in rewound
    assert {"target": "chexpert", "arm": "pretrained", "seed": 0} in rewound, "there at one rate alone"


@pytest.mark.slow
def test_every_study_runs_in_miniature(folder: Path) -> None:
    """Two runs an arm of two domains at most; what studies have in common is done once, in one store."""
    for name in STUDIES:
        few = "{random: 2, pretrained: 1}" if on_films(name) else "1"
        fewer = (
            {}
            if on_films(name)
            else {"targets": "{real: 'domainnet:domainnet/real#15', clipart: 'domainnet:domainnet/clipart'}"}
        )
        if name not in ("appendix-domainnet",) and fewer:
            fewer["targets"] = "{real: 'domainnet:domainnet/real#15'}"
        alone = {} if name == "figure-7-checkpoints" else {"seeds": "2"}
        series = {"pretrained.series": "[imagenet/ckpt-E000.pth.tar, imagenet/ckpt-E090.pth.tar]"}
        more = {**SMALL, "recipe.epochs": few, **fewer, **alone, **QUICK.get(name, {})}
        study, plan = planned(folder, name, **more, **(series if name == "figure-7-checkpoints" else {}))
        store = battery.plan(study)[1]
        store.prepare()
        for step in plan.todo(store):
            done = execute(step.job, store, Work(store.root))
            assert done.status == "done", (name, step.task, done.error)
        for one in analyses.chosen(study).values():
            section = one.section(gather([cell for cell in plan.cells if cell.analysis == one.name], store))
            assert section.findings or section.tables or section.notes or section.data, (name, one.name)
            if one.kind == "transfer" and on_films(name):
                assert any("leans upward" in note for note in section.notes)
                assert any("the first 1 of each" in note for note in section.notes)
