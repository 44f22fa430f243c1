"""Calibration: timed once, remembered, and nothing timed that a study does not use."""

import dataclasses
import json
import os
import subprocess
import sys

import pytest
from smoke.command import environment

from transferscope.engine.estimate import Estimate
from transferscope.engine.machine import Machine
from transferscope.engine.plan import Cell, Plan
from transferscope.engine.store import Store
from transferscope.errors import UserError
from transferscope.models import anatomy
from transferscope.study import Study
from transferscope.timing import calibrate, step_time
from transferscope.timing.calibrate import Calibration, StepTime, calibrated, remembered_precision
from transferscope.timing.step_time import Question

QUESTION = Question("timm:resnet18", 32, 4)


def _answer(float32: float, bfloat16: float) -> dict:
    paces = {"float32": {"step": float32, "evaluation": float32 / 10}}
    paces["bfloat16"] = {"step": bfloat16, "evaluation": bfloat16 / 10}
    matmul = {"float32": 1e9, "bfloat16": 2e9}
    return {"paces": paces, "bytes": 100, "flops": 1e6, "matmul": matmul, "cut": [["conv", "fc"], ["fc"], None]}


@pytest.fixture
def asked(monkeypatch):
    """Questions that reached a subprocess; the answers are taken from `replies`."""
    questions, replies = [], []

    def ask(question):
        questions.append(question)
        return replies.pop(0)

    monkeypatch.setattr(calibrate, "_ask", ask)
    return questions, replies


def test_a_question_is_timed_once_and_another_one_anew(asked, tmp_path):
    questions, replies = asked
    replies += [_answer(1.0, 0.5), _answer(2.0, 0.5)]
    first = calibrated(QUESTION, tmp_path)
    assert calibrated(QUESTION, tmp_path) == first
    other = Question("timm:resnet18", 64, 4)
    assert calibrated(other, tmp_path).step_times["float32"].step == 2.0
    assert questions == [QUESTION, other]
    assert anatomy.block_names("timm:resnet18", tmp_path) == ("conv", "fc"), "told by the same process"


def test_a_plan_that_is_timed_leaves_torch_to_the_process_that_times(tmp_path):
    study = _study(tmp_path, precision="float32")
    (tmp_path / "study.yaml").write_text(study.resolved().replace("timm:resnet18", "timm:test_efficientnet"))
    text = (
        "import sys; from transferscope import battery, forecast; from transferscope.study import Study; "
        "from transferscope.models.anatomy import block_names; "
        "study = Study.load(sys.argv[1]); steps, store = battery.plan(study, timed=True); "
        "known = block_names(study.network, study.memo); "
        "said = battery.forecast(study, store, steps.steps).total(steps.steps, 1).seconds; "
        "print(len(known), said > 0, 'torch' in sys.modules)"
    )
    command = [sys.executable, "-c", text, str(tmp_path / "study.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), check=True)
    count, *said = done.stdout.split()
    assert said == ["True", "False"] and int(count) == len(anatomy.block_names("timm:test_efficientnet"))


def test_a_store_of_earlier_versions_keeps_the_precision_it_chose(tmp_path):
    assert remembered_precision(QUESTION, tmp_path) is None
    (tmp_path / "precision.json").write_text('{"timm:resnet18 32 4": "bfloat16"}')
    assert remembered_precision(QUESTION, tmp_path) == "bfloat16"
    assert remembered_precision(Question("timm:resnet18", 32, 8), tmp_path) is None
    (tmp_path / "precision.json").write_text('{"timm:resnet18 32 4": "float16"}')
    with pytest.raises(UserError, match="'float16' is not a precision; delete the file"):
        remembered_precision(QUESTION, tmp_path)


def test_seconds_of_an_epoch_and_the_table():
    timed = Calibration(
        {"plain": StepTime(2.0, 0.2), "bfloat16": StepTime(0.5, 0.05)}, 100, 1e9, {"float32": 1e9, "bfloat16": 3e9}
    )
    assert timed.epoch("bfloat16", 8, 80, 100) == pytest.approx(10 * 0.5 + 100 * 0.05)
    plain, fast = timed.table(8, "plain")
    assert (plain["train_ratio"], fast["train_ratio"], fast["eval_ratio"]) == (1, 4, 4)
    assert fast["train_images_per_second"] == 16 and fast["eval_images_per_second"] == 20
    assert (plain["floor_seconds"], fast["floor_seconds"]) == (24, 8)


def test_compiling_pays_when_its_seconds_are_saved():
    paces = {
        "bfloat16": StepTime(0.5, 0.05, 1.0),
        "bfloat16+compile": StepTime(0.4, 0.05, 61.0),
        "float32": StepTime(1.0, 0.1, 1.0),
    }
    slow = {"float32+compile": StepTime(1.0, 0.1, 90.0)}
    timed = Calibration(paces | slow, 100, 1e9, {"float32": 1e9, "bfloat16": 3e9})
    rows = {row["way"]: row for row in timed.table(8, "float32")}
    assert rows["bfloat16+compile"]["pays_after"] == pytest.approx(600)
    assert rows["bfloat16+compile"]["start_seconds"] == 61
    assert rows["bfloat16"]["pays_after"] is rows["float32+compile"]["pays_after"] is None


def test_a_real_process_times_every_way():
    timed = calibrate._ask(Question("timm:test_efficientnet", 32, 4, ways=(step_time.PLAIN, "float32")))
    assert set(timed["paces"]) == {"plain", "float32"} and set(timed["matmul"]) == {"float32"}
    assert all(p["step"] > 0 and p["evaluation"] > 0 for p in timed["paces"].values())
    assert timed["flops"] > 1e5 and timed["bytes"] > 1e4 and timed["matmul"]["float32"] > 0


def test_in_a_hurry_a_small_network_takes_a_whole_step_and_no_matrix_product(monkeypatch):
    seen = []

    def loops(net, way, question, evaluated):
        seen.append((way, question.batch_size, evaluated))
        return (lambda: None), (lambda: None)

    monkeypatch.setattr(step_time, "loops", loops)
    monkeypatch.setattr(step_time, "_once", lambda loop, device: seen.append("timed") or 0.1)
    timed = step_time.measure(Question("timm:test_efficientnet", 32, 32, ways=("float32",), quick=True))
    assert seen[0] == ("float32", 32, 64) and seen.count("timed") <= 8 and timed["matmul"] == {}
    assert timed["paces"]["float32"]["step"] == pytest.approx(0.1)
    assert timed["paces"]["float32"]["evaluation"] == pytest.approx(0.1 / 64)


def test_a_large_network_is_timed_on_fewer_images():
    short = Question("timm:resnet50", 224, 64, quick=True)
    assert step_time._shortened(short, 1e9).batch_size == 13
    assert step_time._shortened(short, 1e12).batch_size == 2
    assert step_time._shortened(short, 1e8).batch_size == 64
    on_gpu = dataclasses.replace(short, device="cuda")
    assert step_time._shortened(on_gpu, 1e12) == on_gpu
    assert step_time._shortened(Question("timm:resnet50", 224, 64), 8.2e9).batch_size == 64
    assert [step_time._evaluated(short, flops) for flops in (1e8, 8.2e9)] == [64, 64]
    few = dataclasses.replace(short, batch_size=4)
    assert [step_time._evaluated(few, flops) for flops in (1e8, 8.2e9, 1e12)] == [64, 4, 4]


def test_the_time_of_fewer_images_is_scaled_up(monkeypatch):
    monkeypatch.setattr(step_time, "_shortened", lambda question, flops: dataclasses.replace(question, batch_size=4))
    monkeypatch.setattr(step_time, "_timed", lambda loops, *_: dict.fromkeys(loops, 1.0))
    timed = step_time.measure(Question("timm:test_efficientnet", 32, 64, ways=("float32",), quick=True))
    assert timed["paces"]["float32"]["step"] == 16.0
    assert timed["paces"]["float32"]["evaluation"] == 1 / 64


def test_a_network_that_cannot_be_timed_is_one_sentence(tmp_path):
    with pytest.raises(UserError, match="no package 'nobody'"):
        calibrated(Question("nobody.nets:build", 32, 4), tmp_path)
    assert not list(tmp_path.iterdir())


def _study(tmp_path, **recipe):
    from PIL import Image

    for name in ("a", "b"):
        (tmp_path / "images" / name).mkdir(parents=True, exist_ok=True)
        for i in range(10):
            Image.new("RGB", (16, 16), (i, 0, 0)).save(tmp_path / "images" / name / f"{i}.png")
    raw = {"targets": {"t": "folder:images"}, "network": "timm:resnet18", "image_size": 16, "arms": ["random"]}
    return Study.parse(raw | {"recipe": {"batch_size": 4, "lr": 0.1} | recipe}, folder=tmp_path)


@pytest.fixture
def machine(monkeypatch):
    """``machine("avx512_bf16", gpus=..., capabilities=...)`` gives this machine other instructions and GPUs."""

    def put(*instructions: str, **more) -> None:
        made = Machine(cores=2, memory=10**10, gpus=(), processor="p", system="s")
        made = dataclasses.replace(made, instructions=instructions, **more)
        monkeypatch.setattr("transferscope.study.steps.this_machine", lambda: made)

    return put


def test_auto_precision_is_what_the_machine_has_and_times_nothing(asked, machine, tmp_path):
    for flags, expected in ((("avx2",), "float32"), (("avx2", "avx512_bf16"), "bfloat16")):
        machine(*flags)
        auto = _study(tmp_path, precision="auto").run("t", "random", 0)
        assert auto.key == _study(tmp_path, precision=expected).run("t", "random", 0).key
        assert auto.key == _study(tmp_path).run("t", "random", 0).key, "auto is the default"
    assert auto.key != _study(tmp_path, precision="float32").run("t", "random", 0).key
    assert asked[0] == [] and not (tmp_path / "store" / "memo" / "precision.json").exists()


def test_auto_precision_is_asked_about_where_training_runs(machine, tmp_path):
    machine("avx512_bf16", gpus=("T4",), capabilities=(7.5,))
    study = _study(tmp_path)
    assert study.precision() == "float32" and "compute capability of 8.0" in study.precision_and_reason()[1]
    on_cpu = study.changed(resources=study.resources.model_copy(update={"device": "cpu"}))
    assert on_cpu.precision() == "bfloat16"
    machine(gpus=("A100",), capabilities=(8.0,))
    assert _study(tmp_path).precision() == "bfloat16"


def test_a_store_that_timed_its_choice_keeps_it_and_says_so(machine, tmp_path):
    machine("avx2")
    memo = tmp_path / "store" / "memo"
    memo.mkdir(parents=True)
    (memo / "precision.json").write_text('{"timm:resnet18 16 4": "bfloat16"}')
    study = _study(tmp_path)
    study.forget()
    name, why = study.precision_and_reason()
    assert name == "bfloat16" and "chosen when this store was begun" in why and "emulated here and slow" in why
    assert study.run("t", "random", 0).key == _study(tmp_path, precision="bfloat16").run("t", "random", 0).key
    other = study.changed(network="timm:resnet34")
    assert other.precision() == "bfloat16", "candidates of one study are not trained in several precisions"
    machine("avx512_bf16")
    study.forget()
    assert study.precision_and_reason() == ("bfloat16", "the processor computes in it")


def test_bfloat16_by_name_where_it_is_emulated_is_said(machine, tmp_path):
    machine("avx2")
    study = _study(tmp_path, precision="bfloat16")
    assert study.precision_and_reason() == ("bfloat16", "recipe.precision, which is emulated here and slow")
    assert study.question().ways == ("bfloat16",) and _study(tmp_path).question().ways == ("float32",)


def test_a_plan_without_a_past_is_estimated_from_timings(asked, tmp_path):
    from transferscope import battery

    asked[1].append(_answer(1.0, 0.5))
    study = _study(tmp_path, epochs=3, evaluate="all", precision="float32")
    run = study.run("t", "random", 0)
    plan = Plan.of([Cell("x", {}, run)])
    forecast = battery.forecast(study, Store(study.store_folder), plan.steps)
    assert asked[0] == [] and forecast.total(plan.steps, 1).seconds is None, "a run times nothing"
    forecast = battery.forecast(study, Store(study.store_folder), plan.steps, ask=True)
    assert asked[0][0].ways == ("float32",), "only what is trained is timed"
    train = 12  # of 20 images; 4 for val (2 of each class), 4 for test
    assert forecast.images[study.data("t").key] == {"train": train, "val": 4, "test": 4}
    expected = 3 * train / 4 * 1.0 + (4 * 20 + 2 * 8) * 0.1  # every epoch and the start; best and last weights
    assert forecast.of(run).seconds == pytest.approx(expected)
    sampled = study.changed(recipe=study.recipe.model_copy(update={"evaluate": 5}))  # 5 of train, all 4 of the others
    less = 3 * train / 4 * 1.0 + (4 * (5 + 4 + 4) + 2 * 8) * 0.1
    assert forecast.of(sampled.run("t", "random", 0)).seconds == pytest.approx(less)
    both = [run, study.run("t", "random", 1)]
    assert forecast.total(both, 2).seconds == pytest.approx(expected)
    assert forecast.total(plan.steps, 1).seconds > expected  # decoding comes on top
    assert forecast.past.of(run) == Estimate(None, None)


def _asked(tmp_path, source: str) -> "subprocess.CompletedProcess[str]":
    """A pace process asked about the network `net` of a module with that source."""
    (tmp_path / "paced.py").write_text(source)
    question = json.dumps(dataclasses.asdict(Question("paced:net", 16, 4, quick=True)))
    command = [sys.executable, "-X", "importtime", "-m", "transferscope.timing.step_time", question]
    env = environment(PYTHONPATH=f"{tmp_path}{os.pathsep}{environment()['PYTHONPATH']}")
    return subprocess.run(command, capture_output=True, text=True, env=env, check=True)


NET = """
from torch import nn
def net(num_classes):
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 14 * 14, num_classes))
"""


def test_a_pace_is_taken_without_torchs_compiler(tmp_path):
    done = _asked(tmp_path, "import torchvision\n" + NET)
    assert json.loads(done.stdout)["paces"]["float32"]["step"] > 0
    assert "torchvision.ops" in done.stderr and "torch._dynamo.convert_frame" not in done.stderr


def test_a_network_that_needs_the_compiler_has_it(tmp_path):
    done = _asked(tmp_path, "import torch._dynamo\nLIMIT = torch._dynamo.config.cache_size_limit + 1\n" + NET)
    assert json.loads(done.stdout)["paces"]["float32"]["step"] > 0


def test_a_step_is_timed_with_the_studys_own_update(tmp_path, monkeypatch) -> None:
    """The optimiser, the clipping, the average and what is dropped reach the process that times, by way of JSON."""
    import torch

    from transferscope.study import Study
    from transferscope.tasks.update import Update

    raw = {"targets": ["digits"], "network": "timm:test_resnet", "arms": ["random"], "image_size": 32}
    plain = Study.parse({**raw, "recipe": {"precision": "float32"}}, folder=tmp_path).question()
    recipe = {"precision": "float32", "optimizer": "lamb", "lr": 0.1, "clip_grad": 1.0, "ema": 0.9, "drop_path": 0.1}
    question = Study.parse({**raw, "recipe": recipe}, folder=tmp_path).question()
    assert plain.how == () and calibrate.key(question) != calibrate.key(plain)
    assert step_time.question_of(json.dumps(dataclasses.asdict(question))) == question

    made: list[Update] = []
    begun = Update.__init__

    def noted(self, *arguments) -> None:
        begun(self, *arguments)
        made.append(self)

    monkeypatch.setattr(Update, "__init__", noted)
    for asked in (plain, question):
        net = step_time.network(asked)
        step, _ = step_time.loops(net, "float32", asked, 4)
        before = net.fc.weight.detach().clone()
        step()
        assert not torch.equal(before, net.fc.weight)
    usual, other = made
    assert isinstance(usual.optimizer, torch.optim.SGD) and usual.clip is None and not usual.averaged
    assert type(other.optimizer).__name__ == "Lamb" and other.clip == 1.0 and other.averaged
    assert any(type(m).__name__ == "DropPath" for m in other.net.modules())


def test_timings_of_usual_recipes_are_still_found(monkeypatch) -> None:
    """The name of a question has nothing new in it where nothing new is asked."""
    seen: list[object] = []
    canonical = calibrate.canonical
    monkeypatch.setattr(calibrate, "canonical", lambda value: seen.append(value[0]) or canonical(value))
    calibrate.key(QUESTION)
    assert set(seen[0]) == {"network", "image_size", "batch_size", "device", "threads", "ways", "quick", "shape"}


def test_a_step_is_timed_with_what_is_done_to_its_pictures(tmp_path, monkeypatch) -> None:
    """Rotating every picture may take longer than the network does."""
    from transferscope.study import Study
    from transferscope.tasks.augmented import Augmented

    raw = {"targets": ["digits"], "network": "timm:test_resnet", "arms": ["random"], "image_size": 32}
    recipe = {"precision": "float32", "batch_size": 8, "augment": {"then": [{"rotate": {"degrees": 10}}, "cutmix"]}}
    question = Study.parse({**raw, "recipe": recipe}, folder=tmp_path).question()
    same = step_time.question_of(json.dumps(dataclasses.asdict(question)))
    assert same == question and hash(same) == hash(question)

    done: list[tuple[str, tuple[int, ...]]] = []
    for name in ("altered", "mixed"):
        as_it_is = getattr(Augmented, name)

        def noted(self, images, *more, as_it_is=as_it_is, name=name, **how):
            done.append((name, tuple(images.shape)))
            return as_it_is(self, images, *more, **how)

        monkeypatch.setattr(Augmented, name, noted)
    step, _ = step_time.loops(step_time.network(question), "float32", question, 4)
    step()
    assert done == [("altered", (8, 3, 32, 32)), ("mixed", (8, 3, 32, 32))]
