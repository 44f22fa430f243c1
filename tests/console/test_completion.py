"""What a shell is told when it completes a line."""

import subprocess
import sys

import pytest
from smoke.command import environment

LINE = "import sys; sys.argv = ['transferscope']; from transferscope import cli; cli.main()"


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("transferscope sch", ["schema"]),
        ("transferscope results --analysis t", ["transfer", "tuning"]),
        ("transferscope run --qu", ["--quiet"]),
    ],
)
def test_verbs_and_analyses_are_completed(words: str, found: list[str]) -> None:
    place = str(len(words.split()) - 1)
    asked = {"_TRANSFERSCOPE_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": place}
    done = subprocess.run([sys.executable, "-c", LINE], env=environment(**asked), capture_output=True, text=True)
    assert (done.returncode, done.stdout.split(), done.stderr) == (0, found, "")
