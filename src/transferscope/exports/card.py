"""The card of an exported network: what it is, what it scored on which images, how to load it, what its study found."""

from collections.abc import Sequence
from typing import Any

from transferscope.answers import metric
from transferscope.exports.runs import TrainedRun
from transferscope.models import in_words
from transferscope.report import wording
from transferscope.report.first_screen import summary
from transferscope.report.results import Results
from transferscope.study import Study
from transferscope.tasks import restore
from transferscope.tasks.inputs import USUAL
from transferscope.version import VERSION

FINDINGS = 12  # that are told; the page has all


def card(study: Study, run: TrainedRun, found: Results, classes: Sequence[str], at: str, loads: Sequence[str]) -> str:
    """Markdown with the front matter that model hubs read; `loads` are lines of Python."""
    said = restore.said(run.result)
    scheme = said["network"].partition(":")[0]
    library = scheme if scheme in ("timm", "transformers") else "pytorch"
    start = "random values" if said["weights"] is None else f"{_origin(study)} (arm {said['arm']})"
    arm = run.name.split("/")
    where = f"on {arm[0]}" if len(arm) == 3 else f"of the study '{study.name}'"
    lines = ["---", f"library_name: {library}", "tags: [transferscope]", "---", ""]
    lines += [f"# {in_words(said['network'])} {where}", ""]
    lines += [f"Trained from {start} with seed {said['seed']} by transferscope {VERSION}; run {run.name}.", ""]
    lines += ["## Scores", "", *_scores(run, at), ""]
    lines += ["## Loading", "", "```python", *loads, "```", "", *_fed(study, said), ""]
    lines += [f"Classes, in the order of the outputs: {', '.join(classes)}.", ""]
    lines += ["## What the study found", "", *(f"- {line}" for line in summary(found.sections))]
    told = [wording.sentence(finding) for finding in found.findings if finding.effect is not None][:FINDINGS]
    lines += [f"- {line}" for line in told]
    lines += ["", f"All of it with its basis: the page of the study '{study.name}' (report.html).", ""]
    lines += ["## Study", "", "```yaml", study.resolved().rstrip(), "```", ""]
    return "\n".join(lines)


def _origin(study: Study) -> str:
    return study.pretrained.in_words if study.pretrained is not None else "given weights"


def _scores(run: TrainedRun, at: str) -> list[str]:
    """A table of the metric on val and test at the exported weights."""
    rows = {row["epoch"]: row for row in run.result.rows}
    row = rows[restore.best_epoch(run.result) if at == "best" else max(rows)]
    before = "ema_" if at == "ema" else "whole_"
    judged = metric(row["metric"])
    lines = [f"| split | {row['metric']} | loss |", "|---|---|---|"]
    for split in ("val", "test"):
        score, loss = row.get(f"{before}{split}_metric"), row.get(f"{before}{split}_loss")
        lines.append(f"| {split} | {wording.number(judged.told(score))} | {wording.number(loss)} |")
    best = f"at the best epoch on {restore.said(run.result).get('best_on', 'val')}"
    at_what = {"final": "after the last epoch", "best": best, "ema": "moving average at the end"}
    return [*lines, "", f"One run, weights {at_what[at]}; how much runs differ says the study."]


def _fed(study: Study, said: dict[str, Any]) -> list[str]:
    """How inputs are prepared, in a sentence."""
    if study.input != USUAL:
        return [f"Inputs: {study.input.partition('?')[0]}, prepared as the study below says."]
    how, mean, std = study.recipe.fit, said["mean"], said["std"]
    fit = {"crop": "resized and cut to its middle", "pad": "padded with black", "stretch": "stretched"}[how]
    side = f"{study.image_size} x {study.image_size} pixels"
    return [f"A picture is {fit} at {side}, divided by 255, and normalised with mean {mean} and std {std}."]
