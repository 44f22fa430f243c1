"""domainnet, the cleaned version of DomainNet (Peng et al. 2019): six domains with their lists, 18 GB in all.

The page of the data set lists one archive and two lists a domain, and the images that the lists of a domain hold
together; it gives no digests. The archives of clipart and painting lie in a folder of their own because they were
cleaned later.
"""

from pathlib import Path

from transferscope.errors import UserError
from transferscope.fetch._files import Published

BASE = "http://csr.bu.edu/ftp/visda/2019/multi-source/"
PAGE = "http://ai.bu.edu/M3SDA/"
IMAGES = {
    "clipart": 48_129,
    "infograph": 51_605,
    "painting": 72_266,
    "quickdraw": 172_500,
    "real": 172_947,
    "sketch": 69_128,
}
PARTS = tuple(IMAGES)
CLEANED = ("clipart", "painting")


def files(part: str) -> tuple[Published, ...]:
    """The lists of a domain and its archive."""
    lists = [f"{part}_{split}.txt" for split in ("train", "test")]
    archive = f"groundtruth/{part}.zip" if part in CLEANED else f"{part}.zip"
    return (*(Published(f"domainnet/txt/{name}", name) for name in lists), Published(archive, f"{part}.zip", part))


def check(root: Path, part: str) -> None:
    """UserError unless both lists together have as many lines as the page says, each of an image of the domain."""
    texts = [(root / one.name).read_text(encoding="utf-8", errors="replace") for one in files(part) if not one.unpacks]
    lines = [line for text in texts for line in text.splitlines() if line.strip()]
    other = [line for line in lines if not line.startswith(f"{part}/")]
    if len(lines) != IMAGES[part] or other:
        why = f"have {len(lines):,} lines and not the published {IMAGES[part]:,}"
        if other:
            why = f"have the line '{other[0][:80]}', which is of no image of {part}"
        raise UserError(
            f"fetch: the lists of {part} that came {why}, and were deleted; fetch them from elsewhere (--mirror)."
        )
