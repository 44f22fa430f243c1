"""What fails while a study runs (weights, losses, disks): it is named, and the rest goes on."""

import errno
import json
import os
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from smoke import nets

INLINE = ("--set", "resources.executor=inline")


@pytest.mark.slow
def test_a_loss_that_is_no_number_fails_that_step_only(fresh: Path, call) -> None:
    wild = (
        "--set",
        "recipe.lr={random: 0.05, pretrained: 1.0e+20}",
        "--set",
        "seeds=1",
        "--set",
        "analyses=[transfer]",
        *INLINE,
    )
    done = call("run", *wild, cwd=fresh)
    assert done.code == 1 and "Traceback" not in done.err + done.out
    (line,) = (line for line in (done.out + done.err).splitlines() if "The training loss became" in line)
    assert line.startswith("failed train shapes pretrained 0: "), "said once, when it happens"
    assert done.err.splitlines()[-1].startswith("1 step(s) failed, 0 not run")
    assert "epoch 1" in line and "arm pretrained" in line and "lower recipe.lr" in line
    assert len(list((fresh / "store" / "train").iterdir())) == 1, "the random arm went on"
    assert not list((fresh / "store" / ".scratch").glob("train-*[!k]")), "a failure is never cached"
    page = (fresh / "report.html").read_text(encoding="utf-8")
    summary = json.loads((fresh / "results.json").read_text(encoding="utf-8"))
    lost = next(one for one in summary["analyses"] if one["name"] == "transfer")["missing"]
    assert [cell["labels"]["arm"] for cell in lost] == ["pretrained"]
    assert "The training loss became" in lost[0]["reason"] and "The training loss became" in page
    status = call("status", *wild, cwd=fresh)
    assert status.code == 4 and "The training loss became" in status.out, "the reason is remembered"
    assert call("report", *wild).code == 4
    left = call("run", "--no-retry-failed", *wild)
    assert left.code == 4 and "1 steps failed in an earlier run and were left" in left.out
    assert "to do on" not in left.out, "nothing was begun"


class Code:
    """What it does when unpickled: leave a file behind."""

    def __reduce__(self):
        return os.mkdir, ("ran",)


BAD_WEIGHTS = {
    "a pickle that runs code": (lambda p: p.write_bytes(pickle.dumps(Code())), 2, "not a file of plain tensors"),
    "a checkpoint that runs code": (lambda p: torch.save({"a": nets.weights(1), "x": Code()}, p), 2, "could run code"),
    "a whole module": (lambda p: torch.save(nets.tiny(3), p), 2, "could run code"),
    "cut short": (lambda p: p.write_bytes((p.parent / "weights.safetensors").read_bytes()[:3000]), 2, "cut short"),
    "empty": (lambda p: p.touch(), 2, "is empty"),
    "no tensors": (lambda p: torch.save([1, 2], p), 2, "no tensors by name"),
    "another architecture": (lambda p: torch.save(nets.weights(1, nets.wider(1000)), p), 3, "only 0.0% of the body"),
    "not a number": (lambda p: torch.save({k: v * float("nan") for k, v in nets.weights(1).items()}, p), 3, "NaN"),
}


@pytest.mark.parametrize("kind", BAD_WEIGHTS)
def test_weights_that_are_refused(fresh: Path, call, kind: str) -> None:
    import re

    make, code, words = BAD_WEIGHTS[kind]
    make(fresh / "bad.pth")
    said = call("check", "--set", "pretrained=file:bad.pth", cwd=fresh)
    assert said.code == code and re.search(words, said.out + said.err), said.out + said.err
    assert (said.err.count("\n"), said.out) == (1, "") if code == 2 else "refused arm pretrained: weights: " in said.out
    assert not (fresh / "ran").exists()


def test_weights_wrapped_as_training_scripts_do(fresh: Path, call) -> None:
    wrapped = {"epoch": 3, "state_dict": {f"module.{name}": t for name, t in nets.weights(1).items()}}
    torch.save(wrapped, fresh / "wrapped.pth")
    said = call("check", "--set", "pretrained=file:wrapped.pth", cwd=fresh)
    assert said.code == 0 and "(100.0% of its parameters) matched" in said.out
    half = {name: t for name, t in nets.weights(1).items() if not name.startswith("6")}
    save_file(half, fresh / "half.safetensors")
    pretrained = "pretrained={weights: 'file:half.safetensors', min_share: %s}"
    assert call("check", "--set", pretrained % 0.9).code == 3
    asked = call("check", "--set", pretrained % 0.2)
    assert asked.code == 0 and "of its parameters) matched" in asked.out, "unless asked for"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("network=smoke.nets:tyni", "no function 'tyni'"),
        ("network=smoke.ntes:tiny", "cannot import 'smoke.ntes'"),
        ("network=smoke.nets:hungry", "cannot take a step on images of 32 px"),
        ("network=smoke.nets:headless", "has no head with 3 outputs"),
        ("arms=[random, transfuse:9]", "more than the network's 4 blocks"),
    ],
)
def test_networks_that_cannot_be_built(fresh: Path, call, change: str, words: str) -> None:
    said = call("check", "--set", change, cwd=fresh)
    assert said.code == 3 and words in said.out, said.out + said.err
    assert said.err == ""


def test_timm_names_are_looked_up_before_anything_is_trained(fresh: Path, call) -> None:
    said = call("check", "--set", "network=timm:resnet81", "--set", "arms=[random]", cwd=fresh)
    assert said.code == 3 and "timm has no 'resnet81'; did you mean 'resnet18'?" in said.out


def test_run_looks_as_deep_as_check_before_anything_is_decoded(fresh: Path, call) -> None:
    for change, words in (
        ("network=timm:resnet81", "timm has no 'resnet81'"),
        ("network=smoke.nets:hungry", "cannot take a step on images of 32 px"),
    ):
        said = call("run", "--set", change, "--set", "arms=[random]", "--set", "seeds=4", cwd=fresh)
        assert said.code == 3 and said.out.count(words) == 1, said.out + said.err
        assert not list((fresh / "store").glob("ingest/*")), "nothing was decoded"


def test_what_every_arm_is_refused_for_is_said_once(fresh: Path, call) -> None:
    said = call("check", "--set", "network=smoke.nets:tyni", cwd=fresh)
    assert said.code == 3 and said.out.count("no function 'tyni'") == 1, said.out


def test_a_study_that_has_run_is_not_looked_at_again(copied: Path, call, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> None:
        raise AssertionError("a network was built")

    monkeypatch.setattr("transferscope.preflight.deep", never)
    assert call("run", cwd=copied).code == 0
    with pytest.raises(AssertionError, match="a network was built"):
        call("run", "--set", "recipe.batch_size=20", cwd=copied)
    from transferscope import battery, preflight
    from transferscope.study import Study

    grown = Study.load(copied / "study.yaml", {"seeds": "4"})
    assert not preflight.untried(*battery.plan(grown)), "more seeds of what has run begin as it began"


def test_steps_are_tried_with_the_batches_there_will_be(fresh: Path, call) -> None:
    """78 training images: batches of 24 and of the 6 left over are pairs, batches of 7 are not."""
    both = ("--set", "arms=[random]", "--set", "pretrained=null", "--set", "analyses=[transfer]")
    said = call("check", *both, "--set", "network=smoke.nets:pairs", "--set", "recipe.batch_size=24", cwd=fresh)
    assert said.code == 0, said.out + said.err
    assert "steps on targets.shapes: smoke.nets:pairs takes a step on batches of " in said.out
    said = call("check", *both, "--set", "network=smoke.nets:pairs", "--set", "recipe.batch_size=7")
    assert said.code == 3 and said.out.count("images are no pairs") == 1, said.out
    assert (
        "refused steps on targets.shapes: targets.shapes: smoke.nets:pairs cannot take a training step on" in said.out
    )


def test_every_target_has_its_own_head(fresh: Path, call) -> None:
    from smoke import images

    images.write(fresh / "four", each=12, classes=("disc", "square", "stripes", "rings"))
    two = "targets={shapes: 'folder:images', four: 'folder:four'}"
    said = call(
        "check",
        "--set",
        two,
        "--set",
        "network=smoke.nets:few",
        "--set",
        "arms=[random]",
        "--set",
        "pretrained=null",
        "--set",
        "analyses=[transfer]",
        cwd=fresh,
    )
    assert said.code == 3 and "ok      arm random, 3 outputs" in said.out, said.out + said.err
    assert said.out.count("refused") == 1 and "refused arm random, 4 outputs" in said.out


@pytest.mark.slow
def test_a_last_batch_of_one_image_is_trained_with_the_one_before(fresh: Path, call) -> None:
    """78 training images in batches of 7: one is left over, which batch norm on a map of one place would refuse."""
    one = (
        "--set",
        "arms=[random]",
        "--set",
        "pretrained=null",
        "--set",
        "analyses=[transfer]",
        "--set",
        "seeds=1",
        "--set",
        "network=smoke.nets:pointed",
        "--set",
        "recipe.batch_size=7",
        *INLINE,
    )
    assert call("check", *one, cwd=fresh).code == 0
    done = call("run", *one, cwd=fresh)
    assert done.code == 0, done.out + done.err


@pytest.mark.parametrize("store", ["file/store", "/proc/nosuch"], ids=["a file", "read-only"])
def test_a_store_that_cannot_be_written(fresh: Path, call, store: str) -> None:
    (fresh / "file").touch()
    for verb in ("check", "run"):
        said = call(verb, "--set", f"resources.store={store}", "--set", "analyses=[images]", cwd=fresh)
        assert said.code == 3, said.out + said.err
        assert f"refused store: The store {store} cannot be written: " in said.out and said.err == ""


def test_outputs_that_cannot_be_written(copied: Path, call) -> None:
    (copied / "study.txt").touch()
    for arguments in (("init", "images", "--out", "study.txt/new.yaml"), ("quickstart", "study.txt")):
        said = call(*arguments, cwd=copied)
        assert said.code in (2, 5) and said.err.count("\n") == 1, said.err
        assert "study.txt: a file stands where a folder is needed" in said.err
    (copied / "tables").rename(copied / "elsewhere")
    (copied / "tables").touch()
    said = call("report")
    assert said.code == 5 and said.err.count("\n") == 1 and "tables" in said.err


def test_a_disk_too_small_is_refused_before_the_start(fresh: Path, call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transferscope.battery.disk_free", lambda folder: 10_000_000)
    said = call("run", cwd=fresh)
    assert said.code == 3
    assert "refused disk: " in said.out and "free some space or set resources.store" in said.out


def test_pictures_that_a_disk_cannot_hold_decoded_are_said_with_a_way_out(
    fresh: Path, call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transferscope.preflight.RESERVE", 0)
    words = "they will be decoded again in every epoch; 'recipe.table_jpeg: 95' keeps them in about"
    for free, there in ((1_000, True), (10_000_000_000, False)):
        monkeypatch.setattr("transferscope.battery.disk_free", lambda folder, free=free: free)
        assert (words in call("check", cwd=fresh).out) is there
    monkeypatch.setattr("transferscope.battery.disk_free", lambda folder: 1_000)
    assert words not in call("check", "--set", "recipe.table_jpeg=95", cwd=fresh).out


def test_a_disk_that_fills_up_leaves_no_half_result(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from transferscope import battery
    from transferscope.engine import worker
    from transferscope.engine.task_context import Work
    from transferscope.study import Study

    _, store = battery.plan(study := Study.load(fresh / "study.yaml"))
    step = study.data("shapes")
    store.prepare()

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "step.json")

    with monkeypatch.context() as patch:
        patch.setattr(worker, "write_json", full)
        outcome = worker.execute(step.job, store, Work(store.root))
    assert outcome.status == "failed" and "the disk is full" in outcome.error
    assert not store.has(step) and not store.scratch(step.task, step.key).exists()
    assert worker.execute(step.job, store, Work(store.root)).status == "done", "not cached: it is tried again"


def test_a_disk_that_fills_up_while_the_page_is_written(copied: Path, call, monkeypatch: pytest.MonkeyPatch) -> None:
    from transferscope.report import figures

    def full(path: Path, *_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(figures, "put", full)
    said = call("report", cwd=copied)
    assert said.code == 5 and "the disk is full" in said.err and said.err.count("\n") == 1
