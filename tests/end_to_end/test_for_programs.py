"""`--json` prints one object that says what the lines say, `run --quiet` only what went wrong and what was found."""

import json
from pathlib import Path
from typing import Any

import pytest
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
