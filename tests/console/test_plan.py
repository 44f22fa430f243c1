"""`plan --workers N --gpus G --seconds-per-run S`: the schedule of a study that nothing has measured."""

import json
from pathlib import Path

import pytest
from PIL import Image
from smoke import nets
from smoke.command import Said

from transferscope.console import lines
from transferscope.engine.table import Missing, Tally

STUDY = """\
targets: {t: "folder:images"}
network: smoke.nets:tiny
image_size: 16
arms: [random]
seeds: 6
recipe: {batch_size: 4, epochs: 2, lr: 0.1, precision: float32}
analyses: {transfer: {}}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a", "b"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for i in range(6):
            Image.new("RGB", (16, 16), (i, 0, 0)).save(tmp_path / "images" / name / f"{i}.png")
    (tmp_path / "study.yaml").write_text(STUDY, encoding="utf-8")
    return tmp_path


def simulated(call, folder: Path, *more: str) -> dict:
    said: Said = call("plan", "--workers", "4", "--json", "--seconds-per-run", "60", *more, cwd=folder)
    assert said.code == 0, said.err
    return dict(json.loads(said.out))


def test_six_runs_of_a_minute_on_up_to_four_workers(call, folder: Path) -> None:
    found = simulated(call, folder, "--gpus", "2")
    seconds = {row["workers"]: row["seconds"] for row in found["schedules"]}
    table = found["chain_seconds"] - 60
    assert 0 < table < 1, "twelve pictures are decoded in no time"
    assert seconds == {1: pytest.approx(360 + table), 2: pytest.approx(180 + table), 4: pytest.approx(120 + table)}
    assert [one["task"] for one in found["chain"]] == ["ingest", "train"]
    assert {row["workers"]: row["gpu_hours"] for row in found["schedules"]}[4] == pytest.approx(2 * seconds[4] / 3600)
    assert found["bytes"]["images"] > 0 and set(found["bytes"]) == {"images", "transfer"}
    assert "gpu_hours" in found["schedules"][0] and simulated(call, folder)["schedules"][0]["gpu_hours"] is None


def test_the_disk_is_told_by_what_stays(call, folder: Path) -> None:
    size = sum(tensor.numel() * tensor.element_size() for tensor in nets.tiny(10).state_dict().values())
    found = simulated(call, folder)
    table, runs = found["bytes"]["images"], 6 * size
    answers = 6 * (2 + 2) * 2 * 4 * 2  # runs, val and test images, classes, bytes of a number, best and last
    assert found["bytes"]["transfer"] == 4 * runs + answers, "the start, one epoch, the best, the last"
    kept = {"all": table + 4 * runs + answers, "ends": table + 3 * runs + answers, "findings": table + answers}
    assert found["kept"] == kept
    said = call("plan", "--workers", "2", "--seconds-per-run", "60", cwd=folder).out
    assert "When it is finished stays, by resources.keep: all " in said


def test_what_holds_it_up_is_said(call, folder: Path) -> None:
    few = call("plan", "--workers", "2", "--seconds-per-run", "60", cwd=folder).out
    assert "One after the other: 6 min." in few and "The workers hold it up: they are busy" in few
    many = call("plan", "--gpus", "64", "--seconds-per-run", "60", cwd=folder).out
    assert "More workers would hardly help" in many and "GPU hours" in many and "Disk: " in many


def test_what_nothing_tells_is_one_sentence(call, folder: Path) -> None:
    said = call("plan", "--workers", "2", "--no-calibrate", cwd=folder)
    assert said.code == 2 and "plan: nothing tells how long steps take (train)" in " ".join(said.err.split())


def test_very_many_steps_and_cells_are_counted_not_listed(call, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    how = ("plan", "--no-calibrate", "--seconds-per-run", "60")
    assert call(*how, cwd=folder).out.count("train ") == 6
    few = call("status")
    assert few.code == 4 and few.out.count("missing ") - few.out.count(" missing ") == 7
    monkeypatch.setattr(lines, "LISTED", 6)
    plan, status = call(*how).out, call("status")
    (train,) = (line.split() for line in plan.splitlines() if line.startswith(" train"))
    assert train[1:4] == ["6", "0", "6"] and train[4:] == ["6", "min"] and "--json every step" in plan
    told = [line for line in status.out.splitlines() if line.startswith("missing")]
    assert told == ["missing t: not computed yet", "missing 6 of transfer, t random 0 to t random 5: not computed yet"]
    assert status.code == 4 and "0 of 7 steps done." in status.out
    assert len(json.loads(call("status", "--json").out)["analyses"]["transfer"]["missing"]) == 6
    assert len(json.loads(call("plan", "--json", "--no-calibrate").out)["steps"]) == 7


def test_more_reasons_than_are_listed_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    lost = tuple(Missing({"seed": seed}, f"reason {seed}") for seed in range(lines.LISTED + 3))
    lines.missing({"transfer": Tally(0, lost)})
    told = capsys.readouterr().out.splitlines()
    assert told[0] == "missing 0: reason 0" and told[lines.LISTED] == "... and others, for 3 more reasons."
    assert len(told) == lines.LISTED + 2
