"""`--json` prints one object that says what the lines say, `run --quiet` only what went wrong and what was found."""

import json
from pathlib import Path
from typing import Any

import pytest
from smoke import images
from smoke.command import Said

from transferscope import battery


def read(said: Said) -> dict[str, Any]:
    found = json.loads(said.out)
    assert isinstance(found, dict)
    return found


def test_check(finished: Path, call) -> None:
    said = call("check", "--json", cwd=finished)
    found = read(said)
    assert said.code == 0 and found["ready"] and found["to_do"] == 0 < found["steps"]
    plain = call("check").out
    for one in found["checks"]:
        assert one["ok"] and f"{one['name']}: {one['said'][0]}" in plain
    assert f"in {found['precision']['name']} ({found['precision']['reason']})" in plain
    assert f"mean {found['normalisation']['mean']}" in plain
    changes = ("arms=[random]", "pretrained=null", "network=smoke.nets:pairs", "recipe.batch_size=7")
    refused = call("check", "--json", "--set", "analyses=[transfer]", *(w for one in changes for w in ("--set", one)))
    assert refused.code == 3 and not read(refused)["ready"]
    assert "images are no pairs" in str([one["said"] for one in read(refused)["checks"] if not one["ok"]])


def test_status(finished: Path, call) -> None:
    said = call("status", "--json", cwd=finished)
    assert said.code == 0 and read(said)["to_do"] == 0
    grown = call("status", "--json", "--set", "seeds=3")
    found = read(grown)
    assert grown.code == 4 and 0 < found["to_do"] < found["steps"]
    missing = found["analyses"]["transfer"]["missing"]
    assert {"labels", "reason"} == set(missing[0]) and missing[0]["labels"]["seed"] == 2
    assert call("status", "--set", "seeds=3").out.count("\nmissing ") == sum(
        len(one["missing"]) for one in found["analyses"].values()
    )


def test_store_and_verify(copied: Path, call) -> None:
    found = read(call("store", "--json", cwd=copied))
    steps = {(step["task"], step["key"]) for step in read(call("plan", "--json"))["steps"]}
    held = {(one["task"], one["key"]): one for one in found["results"]}
    assert steps <= set(held)
    assert all(one["bytes"] > 0 and one["by"] and one["finished"].endswith("+00:00") for one in held.values())
    assert found["studies"] == {} or all(one["studies"] for one in held.values())
    sound = call("verify", "--json")
    assert sound.code == 0 and read(sound) == {"as_written": len(held), "without_digests": 0, "damaged": []}
    task, key = next(one for one in steps if one[0] == "train")
    weights = copied / "store" / task / key / "final.safetensors"
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 1
    weights.write_bytes(content)
    spoilt = call("verify", "--json", "--repair")
    (damaged,) = read(spoilt)["damaged"]
    assert spoilt.code == 1 and (damaged["task"], damaged["key"], damaged["set_aside"]) == (task, key, True)
    assert (task, key) not in {(one["task"], one["key"]) for one in read(call("store", "--json"))["results"]}


def test_ls(call) -> None:
    found = read(call("ls", "--json"))
    assert found["analyses"] == battery.analysis_docs()
    assert {"targets", "input", "network", "pretrained", "recipe.optimizer", "resources.executor"} <= set(found)


@pytest.mark.slow
def test_a_quiet_run(fresh: Path, call) -> None:
    small = ("--set", "analyses=[transfer]", "--set", "resources.executor=inline")
    said = call("run", "--quiet", *small, cwd=fresh)
    assert said.code == 0 and said.err == ""
    assert said.out.lstrip().splitlines() == call("report", *small).out.lstrip().splitlines(), "the summary alone"
    assert "Nothing to do" not in call("run", "--quiet", *small).out
    assert "Nothing to do" in call("run", *small).out


def test_a_run_and_a_report(copied: Path, call) -> None:
    told = call("report", cwd=copied).out
    for verb in ("report", "run"):
        said = call(verb, "--json")
        found = read(said)
        assert said.code == 0 and not found["incomplete"] and found["problems"] == found["failed"] == []
        assert all(line in told for line in found["answers"]) and found["answers"]
        assert Path(found["page"]).is_file() and json.loads(Path(found["results"]).read_text("utf-8"))["format"] == 1
    lacks = call("report", "--json", "--set", "seeds=3")
    assert lacks.code == 4 and read(lacks)["incomplete"]


def test_results_gc_and_export(copied: Path, call) -> None:
    assert call("results", "--json", cwd=copied).out == call("results", "--format", "json").out
    (copied / "small.yaml").write_text((copied / "study.yaml").read_text().replace("seeds: 2", "seeds: 1"))
    spared = read(call("gc", "small.yaml", "--json"))
    assert (spared["results"], spared["kept_for"]) == ([], [str(copied / "study.yaml")])
    (copied / "study.yaml").rename(copied / "other.yaml")
    plain, found = call("gc", "small.yaml").out, read(call("gc", "small.yaml", "--json"))
    assert not found["deleted"] and found["bytes"] >= sum(one["bytes"] for one in found["results"]) > 0
    assert plain.count("would delete") == len(found["results"])
    assert all(f"would delete {one['task']} {one['key']} " in plain for one in found["results"])
    written = read(call("export", "model", "shapes/random/0", "net", "--study", "other.yaml", "--json"))["written"]
    assert (copied / written).is_dir() and written == "net"


def test_init(tmp_path: Path, call) -> None:
    images.write(tmp_path / "shapes", each=6)
    plain = call("init", "shapes", cwd=tmp_path).out
    found = read(call("init", "shapes", "--out", "other.yaml", "--json"))
    assert found["written"] == "other.yaml" and (tmp_path / "other.yaml").is_file()
    assert found["said"] and all(line in plain for line in found["said"])


def test_quiet_is_for_this_verb_alone_and_not_for_what_is_wrong(copied: Path, call) -> None:
    for words in (
        ["report"],
        ["check"],
        ["verify"],
        ["gc", "study.yaml"],
        ["export", "model", "shapes/random/0", "net"],
    ):
        said = call(*words, "--quiet", cwd=copied)
        assert (said.code, said.out) == (0, ""), words
    assert "Report: " in call("report").out, "the next one speaks"
    weights = next((copied / "store" / "train").glob("*/final.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-1])
    spoilt = call("verify", "--quiet")
    assert (spoilt.code, spoilt.out) == (1, "") and f"train {weights.parent.name}: " in spoilt.err
    refused = call("check", "--quiet", "--set", "network=smoke.nets:pairs", "--set", "recipe.batch_size=7")
    assert refused.code == 3 and refused.out == "" and "refused" in refused.err
