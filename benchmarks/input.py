"""Training and evaluation input, one thread: batches from the decoded table against pipelines that go image by image.

Run `python benchmarks/input.py`. Every repeat times all paths one after the other, in CPU seconds of this process;
printed are medians over repeats and the median (and range) of the paired ratios to the first path, the paper's loop.
Tables are those of a study: of pixels, of JPEGs (`recipe.table_jpeg: 95`), and streamed from the files, where the next
batch is decoded in threads while one is used; the seconds of all threads count.
NVIDIA's DALI, on the processor alone, is a rival where it is installed (`pip install nvidia-dali-cuda120`, 0.8 GB), and
is left out with a word where it is not. FFCV is none: its only release of 2023 has to be compiled against OpenCV.
The JPEG files are synthetic, 300 to 500 px; `--jpegs FOLDER` takes real ones.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms
from torchvision.transforms import v2

from machine import say
from transferscope.data import Squares, build, open_listing, open_squares
from transferscope.data.augment import CropAndFlip
from transferscope.data.batches import IMAGENET_MEAN, IMAGENET_STD, Batches, eval_batches

BATCH = 32


class Folder(Dataset):
    """Images opened from files one at a time, as the paper's code does."""

    def __init__(self, files: list[Path], transform: Callable) -> None:
        self.files, self.transform = files, transform

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, int]:
        with Image.open(self.files[i]) as image:
            return self.transform(image.convert("RGB")), 0


class Decoded(Dataset):
    """The same table as ours, read one image at a time through an ordinary transform."""

    def __init__(self, pixels: np.ndarray, transform: Callable) -> None:
        self.pixels, self.transform = pixels, transform

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, int]:
        return self.transform(np.array(self.pixels[i])), 0


def tables(folder: Path, files: list[Path], table_size: int, size: int) -> dict[str, Squares]:
    """The tables that a study would make of the files: as pixels, as JPEGs, and decoded whenever they are asked for."""
    for i, file in enumerate(files):  # in two classes
        link = folder / "classes" / f"{i % 2}" / f"{i:06d}.jpg"
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.exists():
            link.symlink_to(file.resolve())
    listing = open_listing(f"folder:{folder / 'classes'}")
    how = {"train_size": table_size, "eval_size": size, "interpolation": "bilinear", "crop": 1.0}
    found = {}
    for name, form in (("pixels", {"streamed": False}), ("JPEGs", {"jpeg": 95}), ("files", {"streamed": True})):
        place = folder / f"{name}{table_size}"
        build(listing, place, **how, val=0.1, test=0.1, split_seed=0, cores=1, **form)
        found[name] = open_squares(place)
        stored = sum(file.stat().st_size for file in place.iterdir()) / len(files)
        print(f"  a table of {name} takes {stored / 1000:.1f} kB an image")
    return found


def dali(files: list[Path], size: int, table_size: int | None = None) -> Callable[[], None] | None:
    """DALI's batches on one thread of the processor: random crops, of which only the part that is seen is decoded, or
    the centre of the picture at `table_size`; None where it is not installed."""
    try:
        from nvidia.dali import fn, pipeline_def, types
    except ImportError:
        print("  DALI is not installed (nvidia-dali-cuda120): left out")
        return None

    @pipeline_def(batch_size=BATCH, num_threads=1, device_id=None)
    def batches():
        held, label = fn.readers.file(files=[str(file) for file in files], random_shuffle=table_size is None, seed=1)
        if table_size is None:
            area, ratio = [0.08, 1.0], [3 / 4, 4 / 3]
            images = fn.decoders.image_random_crop(
                held, device="cpu", output_type=types.RGB, random_area=area, random_aspect_ratio=ratio
            )
            images, mirror = fn.resize(images, resize_x=size, resize_y=size), fn.random.coin_flip()
        else:
            images = fn.decoders.image(held, device="cpu", output_type=types.RGB)
            images, mirror = fn.resize(images, resize_shorter=table_size), 0
        mean, std = ([255 * value for value in of] for of in (IMAGENET_MEAN, IMAGENET_STD))
        like_torch = {"dtype": types.FLOAT, "output_layout": "CHW", "mirror": mirror}
        return fn.crop_mirror_normalize(images, crop=(size, size), mean=mean, std=std, **like_torch), label

    pipeline = batches()
    pipeline.build()

    def run() -> None:
        for _ in range(-(-len(files) // BATCH)):
            images, _ = pipeline.run()
            torch.from_dlpack(images.as_tensor())

    return run


def write_jpegs(folder: Path, count: int) -> list[Path]:
    """Pictures with structure at all scales, so that a decoder has about as much to do as on photographs."""
    rng = np.random.default_rng(0)
    files = []
    for i in range(count):
        width, height = (int(v) for v in rng.integers(300, 501, 2))
        picture = np.zeros((height, width, 3))
        for cells in (3, 8, 20, 60, 150):
            patch = rng.integers(0, 256, (cells, cells, 3), dtype=np.uint8)
            picture += np.asarray(Image.fromarray(patch).resize((width, height), Image.Resampling.BICUBIC)) / cells**0.5
        picture *= 255 / picture.max()
        files.append(folder / f"{i:04d}.jpg")
        Image.fromarray(picture.astype(np.uint8)).save(files[-1], quality=90)
    return files


def paths(files: list[Path], folder: Path, table_size: int, size: int) -> dict[str, dict[str, Callable[[], None]]]:
    """The rivals by purpose; the first of each is the reference of the ratios."""
    kept = tables(folder, files, table_size, size)
    table = kept["pixels"]
    pixels = table.pixels("train")
    assert pixels is not None
    rows, labels = np.arange(len(files)), np.zeros(len(files), dtype=np.int64)
    finish = [transforms.ToTensor(), transforms.Normalize(IMAGENET_MEAN, IMAGENET_STD)]
    crop = [transforms.RandomResizedCrop(size), transforms.RandomHorizontalFlip()]
    tensor = [v2.ToImage(), v2.RandomResizedCrop(size, antialias=True), v2.RandomHorizontalFlip()]
    tensor += [v2.ToDtype(torch.float32, scale=True), v2.Normalize(IMAGENET_MEAN, IMAGENET_STD)]
    centre = [transforms.Resize(table_size), transforms.CenterCrop(size)]
    loaders = {
        "PIL from JPEG files (the paper's loop)": Folder(files, transforms.Compose(crop + finish)),
        "PIL from the decoded table": Decoded(pixels, transforms.Compose([Image.fromarray, *crop, *finish])),
        "torchvision v2 tensors from the decoded table": Decoded(pixels, v2.Compose(tensor)),
    }
    train = {name: drain(DataLoader(data, BATCH, shuffle=True, num_workers=0)) for name, data in loaders.items()}
    options = {"rows": rows, "labels": labels, "size": size, "batch_size": BATCH, "seed": 0}
    train["transferscope, bilinear"] = drain(Batches(table=table, epoch=0, augment=CropAndFlip(), **options))
    for name in ("JPEGs", "files"):
        ahead = Batches(table=kept[name], epoch=0, augment=CropAndFlip(), **options)
        train[f"transferscope, bilinear, from a table of {name}"] = drain(ahead)
    if (rival := dali(files, size)) is not None:
        train["DALI from JPEG files, cropped while decoding"] = rival
    cubic = CropAndFlip(interpolation="bicubic")
    train["transferscope, bicubic"] = drain(Batches(table=table, epoch=0, augment=cubic, **options))
    evaluation = {
        "PIL from JPEG files": drain(DataLoader(Folder(files, transforms.Compose(centre + finish)), BATCH)),
    }
    if (rival := dali(files, size, table_size)) is not None:
        evaluation["DALI from JPEG files"] = rival
    for name, of in kept.items():
        evaluation[f"transferscope, from a table of {name}"] = partial(evaluated, of, rows, labels)
    return {"train": train, "evaluation": evaluation}


def evaluated(table: Squares, rows: np.ndarray, labels: np.ndarray) -> None:
    drain(eval_batches(table, rows, BATCH, labels=labels))()


def drain(batches) -> Callable[[], None]:
    def run() -> None:
        for _ in batches:
            pass

    return run


def compare(rivals: dict[str, Callable[[], None]], images: int, repeats: int) -> None:
    for run in rivals.values():
        run()
    seconds: dict[str, list[float]] = {name: [] for name in rivals}
    for _ in range(repeats):
        for name, run in rivals.items():
            start = time.process_time()
            run()
            seconds[name].append(time.process_time() - start)
    reference = np.array(next(iter(seconds.values())))
    for name, taken in seconds.items():
        ratios = reference / np.array(taken)
        print(
            f"  {name:48s} {images / np.median(taken):8.0f} images/s  "
            f"{np.median(ratios):5.1f}x  ({ratios.min():.1f} to {ratios.max():.1f})"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--images", type=int, default=128)
    parser.add_argument("--jpegs", type=Path, help="a folder of .jpg files to use instead of synthetic ones")
    options = parser.parse_args()
    torch.set_num_threads(1)
    say("float32")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        found = sorted(options.jpegs.rglob("*.jpg"))[: options.images] if options.jpegs else None
        files = found or write_jpegs(folder, options.images)
        for table_size, size in ((96, 64), (256, 224)):
            for purpose, rivals in paths(files, folder, table_size, size).items():
                print(f"{size} px from a table of {table_size} px, {purpose}, {len(files)} images, one thread")
                compare(rivals, len(files), options.repeats)


if __name__ == "__main__":
    main()
