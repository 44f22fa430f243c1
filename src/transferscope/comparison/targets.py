"""Which target of one study is which of another: by name, or by what its data hold where names differ."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from transferscope.comparison.sides import Held, Side


@dataclass
class Matched:
    """One target in every study that has it: its name there by the study's place, the first of which is that of the
    whole."""

    names: dict[int, str]
    held: dict[int, Held] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The name, with the others that it goes by."""
        return " / ".join(dict.fromkeys(self.names.values()))

    @property
    def several(self) -> bool:
        """Whether more than one study has it."""
        return len(self.names) > 1

    def same_test(self, first: int, second: int) -> bool:
        """Whether two studies test on the same examples, in the same order and with the same answers."""
        a, b = self.held.get(first), self.held.get(second)
        return a is not None and b is not None and a.test == b.test


def matched(sides: Sequence[Side]) -> list[Matched]:
    """Every target of every study, those of the first one first."""
    found: list[Matched] = []
    for place, side in enumerate(sides):
        for target in side.study.targets:
            own = side.held.get(target)
            free = [one for one in found if place not in one.names]
            taken = next((one for one in free if target in one.names.values()), None)
            if taken is None and own is not None:
                taken = next((one for one in free if own.data in {held.data for held in one.held.values()}), None)
            if taken is None:
                found.append(taken := Matched({}))
            taken.names[place] = target
            if own is not None:
                taken.held[place] = own
    return found


def words(found: Sequence[Matched], names: Mapping[int, str]) -> list[str]:
    """What is to be said of targets that are one by their data and not by name, and of those that one study has."""
    said = []
    for one in found:
        if not one.several:
            (place, target), *_ = one.names.items()
            said.append(
                f"The target {target} is in {names[place]} alone; a target of another study is held against it where "
                "both have one name in their study files, or hold the same data."
            )
        elif len(set(one.names.values())) > 1:
            known = " and ".join(f"{target} in {names[place]}" for place, target in one.names.items())
            said.append(f"By their data, {known} are one target.")
    return said
