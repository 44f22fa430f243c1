"""Run the small study whose pictures docs/gallery.md shows, and put them beside it: ``python docs/gallery.py FOLDER``.

About 100 seconds of processor time. A study that FOLDER holds already is only drawn again.
"""

import shutil
import sys
from pathlib import Path

import transferscope as ts

HERE = Path(__file__).parent / "gallery"
LARGEST = 100_000  # bytes of a picture
# Of each picture the name of its figure.
PICTURES = {
    "transfer": "transfer-digits-opening",
    "similarity": "similarity-digits-blocks",
    "barrier": "barrier-digits-lines",
    "rewind": "rewind-digits-blocks",
}


def study(folder: Path) -> ts.Study:
    """Digits after fractals, on a network of timm's that is made for tests."""
    return ts.Study(
        folder=folder,
        targets={"digits": "digits"},
        network="timm:test_resnet",
        pretrained={"source": "fractals:8/48", "recipe": {"epochs": 6}},
        image_size=32,
        seeds=3,
        recipe={"epochs": 4, "batch_size": 64, "lr": 0.05, "augment": None, "evaluate": 128, "precision": "float32"},
        analyses={
            "transfer": {},
            "similarity": {"images": 128},
            "barrier": {"pairs": ["replicas"], "alphas": 5, "images": 128, "statistics": 64},
            "rewind": {"images": 128, "checkpoints": "none", "redraw": "none"},
        },
        resources={"device": "cpu", "executor": "inline"},
    )


def main(folder: Path) -> None:
    study(folder).run()
    HERE.mkdir(exist_ok=True)
    for name, figure in PICTURES.items():
        file = folder / "figures" / f"{figure}.svg"
        if (size := file.stat().st_size) > LARGEST:
            raise SystemExit(f"{file} has {size:,} bytes; a picture of the gallery has {LARGEST:,} at most.")
        shutil.copyfile(file, HERE / f"{name}.svg")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
