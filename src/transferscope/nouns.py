"""Nouns: what the inputs of a study are called, so that a sentence on images is one on texts where they are texts."""

import re

_WORDS = {
    "images": "texts",
    "image": "text",
    "pictures": "texts",
    "picture": "text",
    "an image": "a text",
    "image's": "text's",
    "PNG or JPEG": "plain text",
}
_FOUND = re.compile(
    r"(?<!\w)'[^']*'(?!\w)|\"[^\"]*\"|\b(an image|image's|images|image|pictures|picture|PNG or JPEG)\b", re.IGNORECASE
)


def of_texts(sentence: str) -> str:
    """A sentence on images as one on texts; what stands in quotes, as names do, stays as it is."""

    def instead(hit: re.Match[str]) -> str:
        if hit[1] is None:
            return hit[0]
        word = _WORDS.get(hit[1]) or _WORDS[hit[1].lower()]
        return word[0].upper() + word[1:] if hit[1][0].isupper() and hit[1] not in _WORDS else word

    return _FOUND.sub(instead, sentence)
