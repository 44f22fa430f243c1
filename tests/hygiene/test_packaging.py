"""The container and the workflow of CI: what they copy and call is there, and the linters of their kind accept them."""

import re
import shlex
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
import yaml
from pages import TOP

SCRIPTS = Path(sysconfig.get_path("scripts"))


def linter(name: str) -> Path:
    """A linter of the extra `dev`, which not every machine has a build of."""
    if not (found := SCRIPTS / name).exists():
        pytest.skip(f"{name} is not installed here")
    return found


def container() -> dict[str, list[list[str]]]:
    """The arguments of every instruction of the Dockerfile."""
    text = (TOP / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    found: dict[str, list[list[str]]] = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            word, _, rest = line.partition(" ")
            found.setdefault(word, []).append(yaml.safe_load(rest) if rest.startswith("[") else shlex.split(rest))
    return found


def test_the_container_copies_what_an_installation_needs() -> None:
    copied = [name for arguments in container()["COPY"] for name in arguments[:-1]]
    ignored = (TOP / ".dockerignore").read_text(encoding="utf-8").splitlines()
    for name in copied:
        assert (TOP / name).exists() and f"!{name}" in ignored, name
    project = (TOP / "pyproject.toml").read_text(encoding="utf-8")
    assert {"pyproject.toml", "src", *re.findall(r'"(LICENSE|README\.md)"', project)} == set(copied)


def test_the_container_does_what_the_readme_says() -> None:
    told = container()
    readme = (TOP / "README.md").read_text(encoding="utf-8")
    (index,) = [words for words in told["RUN"] if "pip" in words]
    assert "python -m pip install '.[quickstart]' && transferscope quickstart" in readme
    assert ".[quickstart]" in index and told["ENTRYPOINT"] + told["CMD"] == [["transferscope"], ["quickstart"]]
    assert index[index.index("--extra-index-url") + 1] in readme, "the line for a torch without CUDA"
    assert told["USER"] == [["1000"]] and told["WORKDIR"][-1] == ["/study"]
    assert ':/study" transferscope' in readme


def test_linters_accept_the_container_and_the_workflow() -> None:
    flow = TOP / ".github" / "workflows" / "ci.yml"
    for line in (
        [linter("hadolint"), "--failure-threshold", "style", TOP / "Dockerfile"],
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows", flow],
    ):
        done = subprocess.run(line, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_workflow_runs_ci_with_the_oldest_python_allowed() -> None:
    (job,) = yaml.safe_load((TOP / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))["jobs"].values()
    assert [step["run"] for step in job["steps"] if "run" in step] == [".ci/run"] and (TOP / ".ci" / "run").exists()
    oldest = re.search(r'requires-python = ">=([\d.]+)"', (TOP / "pyproject.toml").read_text(encoding="utf-8"))
    assert oldest is not None and job["strategy"]["matrix"]["python"][0] == oldest[1]
