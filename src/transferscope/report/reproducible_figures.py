"""Figures whose bytes are a function of the chart alone: the converter numbers and orders by what it did before."""

import re
from collections.abc import Iterator

_DEFINED = re.compile(r'\bid="((?:clip|gradient_|pattern_)\d+)"')
_USED = re.compile(r'(\bid="|url\(#|href="#)((?:clip|gradient_|pattern_)\d+)(?=["\)])')
_NAMED = re.compile(rb"(?:^[ ]*/[a-z]+\d+ \d+ 0 R\n)+", re.MULTILINE)  # resources by name, a line each, in any order
_REFERENCE = re.compile(rb"(?<![\d.])(\d+) 0 R\b")
_OBJECT = re.compile(rb"(\d+) 0 obj\n")
_LENGTH = re.compile(rb"/Length (\d+)\n")


def svg(text: str) -> str:
    """An SVG whose gradients and clips are numbered in the order in which they are defined."""
    names: dict[str, str] = {}
    for name in _DEFINED.findall(text):
        names.setdefault(name, f"{name.rstrip('0123456789')}{len(names)}")
    return _USED.sub(lambda hit: hit[1] + names.get(hit[2], hit[2]), text)


def pdf(content: bytes) -> bytes:
    """A PDF of the converter with its resources sorted by name and its objects numbered as they are reached from the
    root, whichever way its converter listed them; what is not laid out as expected comes back as it is.
    """
    try:
        objects = dict(_objects(content))
        tail = content[content.rindex(b"trailer") :]
        return _written(content[: content.index(b"\n", content.index(b"\n") + 1) + 1], objects, tail)
    except (ValueError, KeyError, IndexError):
        return content


def _objects(content: bytes) -> Iterator[tuple[int, tuple[bytes, bytes]]]:
    """(number, (text, stream)) of every object that the table at the end of a PDF points to; the text sorted."""
    table = int(content[content.rindex(b"startxref") :].split()[1])
    lines = content[table:].split(b"\n")
    count = int(lines[1].split()[1])
    for line in lines[2 : 2 + count]:
        where, _, kind = line.split()[:3]
        if kind != b"n":
            continue
        at = int(where)
        begins = _OBJECT.match(content, at)
        if begins is None:
            raise ValueError("no object where the table says")
        after = content.index(b"endobj", begins.end())
        text = content[begins.end() : after]
        stream = text.find(b"stream\n")
        if stream < 0:
            yield int(begins[1]), (_sorted(text), b"")
            continue
        head = text[: stream + len(b"stream\n")]
        length = _LENGTH.search(head)
        if length is None:
            raise ValueError("a stream without its length")
        first = begins.end() + len(head)
        last = first + int(length[1])
        yield int(begins[1]), (_sorted(head), content[first : content.index(b"endobj", last)])


def _sorted(text: bytes) -> bytes:
    return _NAMED.sub(lambda hit: b"".join(sorted(hit[0].splitlines(keepends=True))), text)


def _written(head: bytes, objects: dict[int, tuple[bytes, bytes]], tail: bytes) -> bytes:
    """The file anew. KeyError where an object is missing."""
    numbers: dict[int, int] = {}
    waiting = [int(number) for number in reversed(_REFERENCE.findall(tail))]
    while waiting:
        number = waiting.pop()
        if number not in numbers:
            numbers[number] = len(numbers) + 1
            waiting.extend(int(found) for found in reversed(_REFERENCE.findall(objects[number][0])))

    def renumbered(text: bytes) -> bytes:
        return _REFERENCE.sub(lambda hit: b"%d 0 R" % numbers[int(hit[1])], text)

    out, places = bytearray(head + b"\n"), []
    for number, new in numbers.items():
        text, stream = objects[number]
        places.append(len(out))
        out += b"%d 0 obj\n" % new + renumbered(text) + stream + b"endobj\n\n"
    table = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f\r\n" % (len(numbers) + 1)
    out += b"".join(b"%010d 00000 n\r\n" % place for place in places)
    out += re.sub(rb"/Size \d+", b"/Size %d" % (len(numbers) + 1), renumbered(tail[: tail.index(b"startxref")]))
    return bytes(out) + b"startxref\n%d\n%%%%EOF" % table
