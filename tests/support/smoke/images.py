"""Generated photographs of three kinds: discs, squares and stripes, each kind in its own range of colours."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

CLASSES = ("disc", "square", "stripes")
COLOURS = ((200, 60, 50), (60, 160, 70), (50, 80, 200))


def picture(kind: int, number: int) -> Image.Image:
    """Image `number` of a class: 24 to 40 px, noisy ground, the shape somewhere on it."""
    draw = np.random.default_rng([kind, number])
    width, height = (int(side) for side in draw.integers(24, 41, 2))
    ground = draw.integers(90, 166, (height, width, 3), dtype=np.uint8)
    image = Image.fromarray(ground)
    pen = ImageDraw.Draw(image)
    colour = tuple(int(np.clip(c + draw.integers(-40, 41), 0, 255)) for c in COLOURS[kind])
    side = int(draw.integers(12, 19))
    x, y = int(draw.integers(0, width - side)), int(draw.integers(0, height - side))
    if kind == 0:
        pen.ellipse((x, y, x + side, y + side), fill=colour)
    elif kind == 1:
        pen.rectangle((x, y, x + side, y + side), fill=colour)
    else:
        for line in range(0, side, 4):
            pen.rectangle((x, y + line, x + side, y + line + 1), fill=colour)
    return image


def write(root: Path, each: int = 40, classes: tuple[str, ...] = CLASSES) -> Path:
    """`each` images of every class in a subfolder named by it, PNG and JPEG in turn."""
    for place, name in enumerate(classes):
        (root / name).mkdir(parents=True, exist_ok=True)
        for number in range(each):
            image = picture(place % 3, number + 1000 * (place // 3))
            image.save(root / name / (f"{number:03d}.png" if number % 2 else f"{number:03d}.jpg"))
    return root
