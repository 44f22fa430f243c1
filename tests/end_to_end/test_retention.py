"""`resources.keep`: a study is finished without its weights, says so, and has them again when they are asked for."""

import json
from pathlib import Path

import pytest
from smoke import study


def weights(folder: Path) -> dict[str, bytes]:
    found = (path for path in folder.glob("store/train/*/*.safetensors") if "predictions" not in path.name)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


@pytest.mark.slow
def test_a_study_lets_its_weights_go_and_has_the_same_ones_again(tmp_path, call) -> None:
    folder = study.write(tmp_path).parent
    said = study.text("transfer").replace("seeds: 2", "seeds: 1").replace("slots: 2", "slots: 1, executor: inline")
    (folder / "study.yaml").write_text(said, encoding="utf-8")
    assert call("run", cwd=folder).code == 0
    before, page = weights(folder), study.numbers(folder)
    names = {"epoch-0000", "epoch-0001", "best", "final"}
    assert {Path(name).stem for name in before} == names and len(before) == 8
    planned = json.loads(call("plan", "--json", "--set", "recipe.lr=0.04", cwd=folder).out)["kept"]
    assert planned["all"] > planned["ends"] > planned["findings"] > 0

    ends = call("run", "--set", "resources.keep=ends")
    assert "Nothing to do" in ends.out and "of 2 results were let go (resources.keep: ends)" in ends.out
    assert {Path(name).stem for name in weights(folder)} == names - {"epoch-0001"}
    run = ("run", "--set", "resources.keep=findings")
    assert "(resources.keep: findings)" in call(*run).out and not weights(folder)
    assert study.numbers(folder) == {name: content for name, content in page.items() if name not in before}
    status = call("status")
    assert status.code == 0 and "Of 2 results weights were let go (keep: findings)" in status.out
    assert json.loads(call("status", "--json").out)["let_go"] == {"findings": 2}
    kept = [one["kept"] for one in json.loads(call("store", "--json").out)["results"]]
    assert sorted(kept) == ["all", "findings", "findings"]
    assert call("verify").code == 0
    refused = call("export", "model", "shapes/random/0", "exported")
    assert refused.code == 2 and "was let go (resources.keep)" in refused.err and "--restore" in refused.err

    grown = said.replace("analyses: {", 'analyses: {"distance": {}, ')
    (folder / "study.yaml").write_text(grown, encoding="utf-8")
    asked = call("plan")
    assert "2 of them training runs" in asked.out and "1 cached" in asked.out, asked
    assert call("run").code == 0 and weights(folder) == before
    assert call(*run).code == 0 and not weights(folder)
    restored = call("run", "--restore", "--set", "resources.keep=findings")
    assert restored.code == 0 and weights(folder) == before, restored
