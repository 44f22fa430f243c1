"""Nouns: what the inputs of a study are called, so that a sentence on images is one on texts where they are texts."""

import re

PLAIN = {"texts": "plain text", "arrays": "arrays of numbers"}  # what files hold, in the place of PNG or JPEG
_FOUND = re.compile(
    r"(?<!\w)'[^']*'(?!\w)|\"[^\"]*\"|\b(an image|a picture|image's|images|image|pictures|picture|PNG or JPEG)\b",
    re.IGNORECASE,
)


def spoken(sentence: str, noun: str) -> str:
    """A sentence on images as one on "texts" or "arrays", as `noun` says; what stands in quotes, as names do, stays."""
    if noun not in PLAIN:
        return sentence
    one = noun.removesuffix("s")
    with_article = f"{'an' if one[0] in 'aeio' else 'a'} {one}"
    words = {"an image": with_article, "a picture": with_article, "image's": f"{one}'s"} | {
        "images": noun,
        "image": one,
        "pictures": noun,
        "picture": one,
        "png or jpeg": PLAIN[noun],
    }

    def instead(hit: re.Match[str]) -> str:
        if hit[1] is None:
            return hit[0]
        word = words[hit[1].lower()]
        return word[0].upper() + word[1:] if hit[1][0].isupper() and hit[1] != "PNG or JPEG" else word

    return _FOUND.sub(instead, sentence)


def of_texts(sentence: str) -> str:
    """A sentence on images as one on texts."""
    return spoken(sentence, "texts")
