"""The battery: how many workers a machine gets and on which devices, and the study as it was settled."""

import json
from dataclasses import replace

import pytest
import torch
from PIL import Image

from transferscope import battery, preflight
from transferscope.engine.machine import Machine
from transferscope.engine.worker_slots import WORKER_MEMORY
from transferscope.errors import UserError
from transferscope.memo import Memo
from transferscope.models.build import build_network
from transferscope.study import Study
from transferscope.study.schema import Resources
from transferscope.timing import calibrate, share, throughput
from transferscope.timing.throughput import Throughput

PLENTY = Machine(cores=16, memory=128 * 10**9, gpus=("A", "A"), processor="p", system="s")
NO_GPU = replace(PLENTY, gpus=())


def never() -> int:
    raise AssertionError("sharing was asked for")


def devices(sharing, machine: Machine = PLENTY, **resources) -> tuple[str, ...]:
    return battery.slots(Resources(**resources), machine, sharing).devices


def test_one_worker_a_gpu_unless_more_pay() -> None:
    assert devices(None) == ("cuda:0", "cuda:1")
    assert devices(lambda: 1) == ("cuda:0", "cuda:1")
    assert devices(lambda: 3) == ("cuda:0", "cuda:1") * 3  # dealt in turn


@pytest.mark.parametrize(
    ("machine", "count"),
    [
        (replace(PLENTY, cores=5), 5),
        (replace(PLENTY, memory=4 * WORKER_MEMORY + 1), 4),
        (replace(PLENTY, cores=1), 2),  # never less than one a GPU
        (replace(PLENTY, memory=1), 2),
    ],
)
def test_cores_and_memory_limit_what_shares(machine: Machine, count: int) -> None:
    assert devices(lambda: 8, machine) == tuple(f"cuda:{i % 2}" for i in range(count))


def test_threads_are_dealt_among_those_who_share() -> None:
    assert battery.slots(Resources(), PLENTY, lambda: 4).threads == 2
    assert battery.slots(Resources(threads=3), PLENTY, lambda: 4).threads == 3


def spread(machine: Machine, runs: int, **resources) -> tuple[tuple[str, ...], int, int]:
    found = battery.slots(Resources(**resources), machine, never, runs)
    return found.devices, found.processes, found.threads


def test_a_worker_has_as_many_gpus_as_a_run_spreads_over() -> None:
    five = replace(PLENTY, gpus=("A",) * 5)
    assert spread(five, 9, gpus_per_run=2) == (("cuda:0", "cuda:2"), 2, 8), "the fifth is left out"
    assert spread(five, 9, gpus_per_run=5) == (("cuda:0",), 5, 16)
    assert spread(five, 9, gpus_per_run=2, slots=3) == (("cuda:0", "cuda:2", "cuda:0"), 2, 5)
    assert spread(NO_GPU, 9, gpus_per_run=4) == (("cpu",) * 4, 4, 4)
    assert battery.slots(Resources(gpus_per_run=2), PLENTY, lambda: 1).processes == 1, "nothing is to be trained"
    with pytest.raises(UserError, match=r"^resources.gpus_per_run: 6 GPUs were asked for but 5 found; lower it.$"):
        spread(five, 9, gpus_per_run=6)
    with pytest.raises(UserError, match="2 GPUs were asked for but 1 found"):
        spread(five, 9, gpus_per_run=2, device="cuda:1")
    with pytest.raises(UserError, match="not over those that torch calls 'xpu'"):
        spread(replace(PLENTY, accelerator="xpu"), 9, gpus_per_run=2)


@pytest.mark.parametrize(("runs", "processes"), [(1, 5), (2, 2), (3, 1), (5, 1)])
def test_gpus_are_divided_among_few_runs(runs: int, processes: int) -> None:
    five = replace(PLENTY, gpus=("A",) * 5)
    found = battery.slots(Resources(gpus_per_run="auto"), five, lambda: 1, runs)
    assert (found.processes, len(found.devices)) == (processes, 5 // processes)
    assert spread(NO_GPU, runs, gpus_per_run="auto")[1] == 1


def test_check_tries_whether_a_run_can_be_spread(study, monkeypatch) -> None:
    for module in (battery, preflight):
        monkeypatch.setattr(module, "this_machine", lambda: replace(NO_GPU, cores=4))
    spread = study.changed(resources=Resources(gpus_per_run=2))
    steps = battery.plan(spread)[0].steps
    said = "2 worker(s) on cpu, 2 thread(s) each; a run spreads over 2 processes"
    assert preflight._memory(spread, steps) == said and "trained alike" in preflight._shares(spread, 2)
    monkeypatch.setattr(preflight, "this_machine", lambda: replace(NO_GPU, memory=WORKER_MEMORY))
    with pytest.raises(UserError, match=r"2 workers of 2 processes each .* lower resources.slots or gpus_per_"):
        preflight._memory(spread, steps)
    odd = torch.nn.Sequential(torch.nn.BatchNorm2d(3, track_running_stats=False), torch.nn.Flatten())
    monkeypatch.setattr("transferscope.models.build.build_network", lambda *_, **__: odd)
    with pytest.raises(UserError, match=r"^resources\.gpus_per_run: in training the network gives an image other"):
        preflight._shares(spread, 2)


def test_sharing_is_asked_for_only_where_it_counts() -> None:
    assert devices(never, slots=5) == ("cuda:0", "cuda:1", "cuda:0", "cuda:1", "cuda:0")
    assert devices(never, device="cpu") == ("cpu",) * 16
    assert devices(never, NO_GPU) == ("cpu",) * 16
    assert devices(never, replace(NO_GPU, memory=3 * WORKER_MEMORY)) == ("cpu",) * 3
    with pytest.raises(UserError, match="no GPU"):
        devices(never, NO_GPU, device="cuda")
    with pytest.raises(AssertionError, match="asked"):
        devices(never)


@pytest.fixture
def study(tmp_path) -> Study:
    """Twelve images of 16 px in two classes; its table is 24 px and 16 px."""
    for name in ("a", "b"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for i in range(6):
            Image.new("RGB", (16, 16), (i, 0, 0)).save(tmp_path / "images" / name / f"{i}.png")
    raw = {"targets": {"t": "folder:images"}, "network": "timm:resnet18", "image_size": 16, "arms": ["random"]}
    raw |= {"recipe": {"batch_size": 4, "lr": 0.1, "precision": "bfloat16"}}
    return Study.parse(raw, folder=tmp_path)


@pytest.fixture
def gpus(monkeypatch):
    """Two GPUs that two runs each fill; the counts that were measured."""
    asked = []

    def processes(question, count):
        asked.append((count, question.ways, question.device))
        return Throughput(count, {1: 10.0, 2: 18.0, 4: 19.0}[count], 10**9, 10**11)

    for module in (battery, share, calibrate):
        monkeypatch.setattr(module, "this_machine", lambda: PLENTY)
    monkeypatch.setattr("transferscope.study.steps.this_machine", lambda: PLENTY)
    monkeypatch.setattr(share, "throughput", processes)
    return asked


def test_a_plan_never_measures_and_a_run_does_once(study: Study, gpus, said) -> None:
    steps = battery.plan(study)[0].steps
    assert len(battery.known_slots(study, ()).devices) == 2
    assert gpus == []
    assert battery.executor(study, steps).slots.devices == ("cuda:0", "cuda:1") * 2
    assert [(count, ("bfloat16",), "cuda") for count in (1, 2, 4)] == gpus
    assert len(said) == 1 and said[0].startswith("Measuring")
    assert len(battery.known_slots(study, ()).devices) == len(battery.executor(study, steps).slots.devices) == 4
    assert len(gpus) == 3 and len(said) == 1


def test_a_study_trains_on_the_gpu_that_is_asked_for(study: Study, monkeypatch) -> None:
    def said(device: str, machine: Machine) -> tuple[str, str]:
        monkeypatch.setattr("transferscope.study.steps.this_machine", lambda: machine)
        other = study.changed(resources=study.resources.model_copy(update={"device": device}))
        return other.device, other.question("float32").device

    apple = replace(PLENTY, gpus=("Apple M3",), accelerator="mps")
    for device, machine, where in (
        ("auto", PLENTY, "cuda"),
        ("cuda:1", PLENTY, "cuda:1"),
        ("cpu", PLENTY, "cpu"),
        ("auto", NO_GPU, "cpu"),
        ("cuda", NO_GPU, "cpu"),
        ("auto", apple, "mps"),
    ):
        assert said(device, machine) == (where, where)
    auto = study.changed(recipe=study.recipe.model_copy(update={"precision": "auto"}))
    assert auto.precision() == "float32", "what a Mac's processor computes in, too: the same keys"


def test_the_images_of_a_run_are_counted(study: Study, gpus, monkeypatch) -> None:
    held = []
    monkeypatch.setattr(battery, "sharing", lambda question, memo, held_: held.append(held_) or 1)
    battery.executor(study, battery.plan(study)[0].steps)
    assert held == [12 * 3 * (24 * 24 + 16 * 16)]


def test_images_that_cannot_be_counted_are_no_error_here(study: Study, gpus, monkeypatch) -> None:
    def uncountable(study):
        raise UserError("no images")

    monkeypatch.setattr(battery, "image_counts", uncountable)
    assert (
        len(battery.known_slots(study, ()).devices)
        == len(battery.executor(study, battery.plan(study)[0].steps).slots.devices)
        == 2
    )
    assert gpus == []


def test_nothing_is_measured_on_a_cpu(study: Study, monkeypatch) -> None:
    for module in (battery, share, calibrate):
        monkeypatch.setattr(module, "this_machine", lambda: NO_GPU)
    monkeypatch.setattr(share, "throughput", lambda *_: never())
    monkeypatch.setattr(throughput.subprocess, "Popen", lambda *_, **__: never())
    assert battery.executor(study, battery.plan(study)[0].steps).slots.devices == ("cpu",) * 16
    assert not study.memo.exists() or not (study.memo / "sharing.json").exists()


def test_the_resolved_study_names_the_precision_that_auto_meant(study: Study) -> None:
    auto = study.changed(recipe=study.recipe.model_copy(update={"precision": "auto"}))
    Memo(study.memo / "precision.json").put({"timm:resnet18 16 4": "bfloat16"})
    settled = battery._settled(auto, battery.plan(auto)[0])
    assert settled.recipe.precision == "bfloat16"
    assert [s.key for s in battery.plan(settled)[0].steps] == [s.key for s in battery.plan(auto)[0].steps]
    looked = auto.changed(analyses={"images": {}})
    assert battery._settled(looked, battery.plan(looked)[0]) is looked, "nothing is trained, so nothing is timed"


def test_nothing_is_measured_where_nothing_is_trained(study: Study, gpus, monkeypatch) -> None:
    steps = [step for step in battery.plan(study)[0].steps if step.task != "train"]
    assert steps and battery.executor(study, steps).slots.devices == ("cuda:0", "cuda:1")
    auto = study.changed(recipe=study.recipe.model_copy(update={"precision": "auto"}))
    monkeypatch.setattr(calibrate, "calibrated", lambda *_: never())
    assert battery.known_slots(auto, ()).devices == ("cuda:0", "cuda:1"), "a plan times nothing to count workers"
    assert gpus == []


def test_a_run_of_minutes_is_timed_first_so_that_its_time_left_is_known(study: Study, monkeypatch) -> None:
    plan, store = battery.plan(study)
    paces = {"bfloat16": calibrate.StepTime(0.2, 0.002), "float32": calibrate.StepTime(0.2, 0.002)}
    monkeypatch.setattr(calibrate, "calibrated", lambda *_: calibrate.Calibration(paces, 1, 1.0, {}))
    assert battery.foresight(study, store, plan.steps).timed is None, "a run of seconds is not worth it"
    monkeypatch.setattr(battery, "WORTH", 1)
    assert battery.foresight(study, store, plan.steps).total(plan.steps, 2).seconds

    def refuse(*_):
        raise UserError("it cannot be timed")

    monkeypatch.setattr(calibrate, "calibrated", refuse)
    assert battery.foresight(study, store, plan.steps).timed is None


def test_the_page_names_what_weights_did_not_fill(study: Study, tmp_path) -> None:
    torch.save(build_network("timm:resnet18", 2, seed=1).state_dict(), tmp_path / "w.pth")
    how = study.model_dump() | {
        "arms": ["random", "pretrained"],
        "pretrained": "file:w.pth",
        "analyses": {"transfer": {}},
    }
    own = Study.parse({n: v for n, v in how.items() if n != "folder"}, folder=tmp_path)
    plan, store = battery.plan(own)
    assert battery._loaded(plan, store) == []
    started = [step for step in plan.steps if step.task == "train" and step.params["arm"] == "pretrained"]
    for step in started:
        with store.writing(step.task, step.key) as folder:
            said = {"missing": ["conv1.weight"], "mismatched": ["bn1.bias"], "share": 0.99, "tensors_matched": 9}
            said |= {"tensors_total": 11, "parameters_matched": 9, "parameters_total": 10}  # of an earlier version
            (folder / "run.json").write_text(json.dumps({"best_epoch": 1, "loaded": said}))
            (folder / "step.json").write_text('{"params": {}}')
    missing = "not filled by the weights, so as in a random network: conv1.weight, bn1.bias"
    assert started and battery._loaded(plan, store) == [f"Weights of w.pth: {missing}."]


def test_the_page_states_every_processor() -> None:
    machines = [replace(PLENTY, processor=name, gpus=("A",)).as_dict() for name in ("p", "q", "p")]
    shown = battery._machine(machines)
    assert (shown["processor"], shown["gpus"], shown["memory"]) == ("p, q", "A", "128 GB")


class Elsewhere:
    """An executor whose workers are on other machines: what it was given."""

    ELSEWHERE = True

    @staticmethod
    def executor(slots, options):
        return slots, options


def test_workers_elsewhere_are_dealt_there_and_measure_there(study: Study, gpus, monkeypatch) -> None:
    from transferscope.engine import executors

    monkeypatch.setattr(executors, "_module", lambda said: Elsewhere)
    monkeypatch.setattr(battery, "sharing", lambda question, memo, held: (question.device, memo.is_absolute(), held))
    resources = study.resources.model_copy(update={"executor": "ray", "slots": 7, "slurm": {"workers": 3}})
    far = study.changed(resources=resources)
    steps = battery.plan(far)[0].steps
    slots, options = battery.executor(far, steps)
    assert slots.devices == () and gpus == [], "this machine is none of them"
    assert (options["slots"], options["threads"], options["device"], options["natural"]) == (7, "auto", "auto", False)
    assert options["sharing"]() == ("cuda", True, 12 * 3 * (24 * 24 + 16 * 16))
    monkeypatch.setattr(battery, "this_machine", lambda: replace(PLENTY, accelerator="xpu"))
    assert options["sharing"]()[0] == "xpu", "of the machine where it is asked"
    assert options["slurm"] == {"workers": 3}
    auto = far.changed(recipe=far.recipe.model_copy(update={"precision": "auto"}))
    assert battery.executor(auto, steps)[1]["natural"]
    assert battery.known_slots(far, ()).devices == ("cpu",) * 7
    assert options["processes"] == 1
    four = far.changed(resources=resources.model_copy(update={"gpus_per_run": 4}))
    assert battery.executor(four, steps)[1]["processes"] == battery.known_slots(four, ()).processes == 4
    divided = far.changed(resources=resources.model_copy(update={"gpus_per_run": "auto"}))
    for ask in (battery.executor, battery.known_slots):
        with pytest.raises(UserError, match=r"'auto' counts the GPUs of this .*'executor: ray'.*give a number"):
            ask(divided, steps)
    on_cpu = far.changed(resources=resources.model_copy(update={"device": "cpu"}))
    assert battery.executor(on_cpu, steps)[1]["sharing"] is None
