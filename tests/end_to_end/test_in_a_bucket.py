"""`resources.store: s3://...`: a study is computed once, whatever becomes of this machine; drivers share a bucket."""

import shutil
import subprocess
import sys
from pathlib import Path

import buckets
import pytest
from smoke import command, study
from toy import drive

from transferscope.engine.remote import Remote
from transferscope.engine.step import Step
from transferscope.engine.store import Store
from transferscope.engine.task_context import Work
from transferscope.engine.worker import execute
from transferscope.study import Study

pytest.importorskip("moto")
pytest.importorskip("s3fs")


@pytest.mark.slow
def test_a_study_in_a_bucket_is_computed_once_whatever_becomes_of_this_machine(tmp_path, monkeypatch, call) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    place = buckets.bucket("small") + "/store"
    folder = study.write(tmp_path / "study").parent
    said = study.text("transfer").replace("seeds: 2", "seeds: 1").replace("slots: 2", f"slots: 1, store: '{place}'")
    (folder / "study.yaml").write_text(said, encoding="utf-8")
    done = command.transferscope("run", cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not (folder / "store").exists()
    (here,) = (tmp_path / "cache" / "transferscope" / "stores").iterdir()
    written, page = _results(here), study.numbers(folder)
    assert any(file.name == "final.safetensors" for file in written)

    shutil.rmtree(here)
    again = call("run", cwd=folder)
    assert again.code == 0 and "Nothing to do" in again.out, again
    assert study.numbers(folder) == page
    assert not list(here.glob("train/*/final.safetensors")), "weights that nobody reads stay where they are"
    verified = call("verify", cwd=folder)
    assert verified.code == 0 and "0 damaged" in verified.out, verified
    store = Store.at(place)
    for task, key in store.entries():
        store.artifact(task, key).whole()
    assert _results(here) == written

    shutil.rmtree(here)
    status = call("status", cwd=folder)
    assert status.code == 0 and "steps done" in status.out, status
    kept = call("gc", "study.yaml", "--yes", cwd=folder)
    assert kept.code == 0 and "deleted" not in kept.out, kept
    listed = call("store", cwd=folder)
    assert "train" in listed.out and "study.yaml" in listed.out, listed


def _results(folder: Path) -> dict[Path, bytes]:
    free = ("log.txt", "timing.json")  # no digest vouches for them, nobody fetches them unasked
    files = [file for file in folder.glob("[!.]*/*/*") if file.is_file() and file.name not in free]
    return {file.relative_to(folder): file.read_bytes() for file in files if (file.parent / "step.json").exists()}


@pytest.mark.slow
def test_two_drivers_on_one_bucket_do_every_step_once(tmp_path) -> None:
    place = buckets.bucket("shared") + "/store"
    (gate := tmp_path / "gate").mkdir()
    both = [
        subprocess.Popen(
            [sys.executable, "-m", "toy.drive", place, "60", "inline", str(gate)],
            env=command.environment(XDG_CACHE_HOME=str(tmp_path / name)),  # as two machines
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name in ("one", "other")
    ]
    said = [one.communicate(timeout=240) for one in both]
    assert [one.returncode for one in both] == [0, 0], said
    assert sum(int(out.split()[0]) for out, _ in said) == len(drive.steps(60)), said
    assert [int(out.split()[0]) > 0 for out, _ in said] == [True, True], said
    store = Store.at(place)
    assert all(store.get(step).inspect() is None for step in drive.steps(60))


@pytest.mark.slow
def test_a_training_goes_on_on_another_machine_and_ends_in_the_same_bytes(tmp_path) -> None:
    file = study.write(tmp_path / "study")
    file.write_text(study.text("transfer").replace("seeds: 2", "seeds: 1"), encoding="utf-8")
    asked = Study.load(file)
    data, training = asked.data("shapes"), asked.run("shapes", "pretrained", 0)
    straight = Store(tmp_path / "straight")
    straight.prepare()
    place = buckets.bucket("shared-saves") + "/store"
    one, two = (Store(tmp_path / name, Remote(place, tmp_path / name)) for name in ("one", "two"))
    began: dict[Path, list[tuple[int, int]]] = {}

    def do(step: Step, store: Store, batches: int = 1000) -> str:
        told = began.setdefault(store.root, [])

        def tell(**said: int) -> None:
            if said.get("batch"):
                told.append((said["epoch"], said["batch"]))

        store.prepare()
        work = Work(store.root, tell=tell, stopping=lambda: len(told) >= batches)
        return execute(step.job, store, work).status

    for store in (straight, one):
        assert do(data, store) == "done"
    assert do(training, straight) == "done"
    whole = began[straight.root]
    assert do(training, one, batches=len(whole) // 2 + 1) == "interrupted"
    shutil.rmtree(one.root)
    assert do(training, two) == "done"
    assert began[one.root] + began[two.root] == whole, "no batch is trained twice"
    said = straight.get(training).said["files"]
    assert two.get(training).said["files"] == said and "final.safetensors" in said
    assert two.remote is not None and not two.remote.bucket.names("saves")
