"""The paper's ten claims, a line each: the findings on it joined, or the analysis that would judge it."""

from collections.abc import Mapping, Sequence
from typing import Any

from transferscope.section import CLAIMS, Verdict

JUDGES = {
    1: ("transfer",),
    2: ("shuffle",),
    3: ("shuffle",),
    4: ("mistakes",),
    5: ("similarity",),
    6: ("distance",),
    7: ("barrier",),
    8: ("basin",),
    9: ("rewind", "criticality"),
    10: ("checkpoint",),
}
WORDS = {"supports": "Supports", "contradicts": "Contradicts", "open": "Open"}


def joined(verdicts: Sequence[Verdict]) -> Verdict:
    """Contradicts where one does, supports where all do, else open."""
    if "contradicts" in verdicts:
        return "contradicts"
    return "supports" if verdicts and set(verdicts) == {"supports"} else "open"


def claims(sections: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Every claim in its order with verdict, findings, and what would judge it where nothing does.

    `sections` are what the template knows of them: id, title, kind and findings, each with the `verdict` and `claim`.
    """
    found: dict[int, list[dict[str, Any]]] = {number: [] for number in CLAIMS}
    for section in sections:
        for finding in section["findings"]:
            if finding["verdict"] and finding["claim"] in found:
                found[finding["claim"]].append({**finding, "id": section["id"], "section": section["title"]})
    kinds = {section["kind"] for section in sections}
    return [_line(number, of, kinds) for number, of in found.items()]


def _needs(open_: Sequence[Mapping[str, Any]]) -> str:
    """What of an open claim is shown, and what would decide it."""
    return " ".join([*map(_part, open_), _seeds(open_)]).strip()


def _part(one: Mapping[str, Any]) -> str:
    """How many of a finding's several comparisons are shown; its number is that of the first."""
    if not one["shown"]:
        return ""
    shown, of = one["shown"]
    return f"Of its {of} comparisons {shown or 'none'} {'is' if shown == 1 else 'are'} shown."


def _seeds(open_: Sequence[Mapping[str, Any]]) -> str:
    if not all(one["needed"] for one in open_):
        return "No count of seeds up to 30 is seen to decide it."
    counts = [int(one["needed"]) for one in open_]
    return f"About {max(counts)} seeds would decide it, were effect and scatter what they seem."


def _line(number: int, of: list[dict[str, Any]], kinds: set[str]) -> dict[str, Any]:
    verdict = joined([one["verdict"] for one in of]) if of else None
    worst = [one for one in of if one["verdict"] == verdict]
    names = JUDGES.get(number, ())
    there = [name for name in names if name in kinds]
    if there:
        missing = f"not judged: what {' and '.join(there)} found was too little"
    else:
        missing = f"not judged; this would: analyses: [{names[0]}]" if names else "not judged"
    return {
        "number": number,
        "statement": CLAIMS[number],
        "verdict": verdict,
        "word": WORDS[verdict] if verdict else "",
        "needs": _needs(worst) if verdict == "open" else "",
        "findings": [*worst, *(one for one in of if one not in worst)],
        "missing": "" if of else missing,
    }
