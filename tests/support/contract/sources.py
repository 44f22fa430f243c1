"""The contract of a data source: a listing that is the same twice, loads anywhere, and is known by its fingerprint."""

import inspect
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import official
import pytest
from smoke import images

from contract.opening import arguments, called, check_first_line, check_light
from transferscope import data
from transferscope.data.pictures.decode import to_rgb
from transferscope.errors import UserError

PACKAGE = "transferscope.data.sources"


def mnist(root: Path) -> None:
    """MNIST's four files with 20 + 10 images."""
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for part, n in (("train", 20), ("t10k", 10)):
        pixels = np.arange(n * 28 * 28, dtype=np.uint8)
        labels = np.arange(n, dtype=np.uint8) % 10
        (raw / f"{part}-images-idx3-ubyte").write_bytes(struct.pack(">4i", 0x803, n, 28, 28) + pixels.tobytes())
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(struct.pack(">2i", 0x801, n) + labels.tobytes())


def _folder(folder: Path) -> str:
    return f"folder:{images.write(folder / 'images', each=2)}"


def _csv(folder: Path) -> str:
    images.write(folder / "images", each=1)
    lines = ("path,label", "images/square/000.jpg,b", "images/disc/000.jpg,a")
    (folder / "table.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return f"csv:{folder / 'table.csv'}"


def _torchvision(folder: Path) -> str:
    mnist(folder)
    return f"torchvision:MNIST:{folder}"


def signals(file: Path, each: int = 30, **more: np.ndarray) -> Path:
    """A file of noisy sines of two channels and 48 steps, `each` slow and `each` fast ones in turn."""
    from newcomers.waves import CLASSES, Waves

    waves = Waves(each)
    order = [index for number in range(each) for index in (number, each + number)]
    x = np.stack([waves(index) for index in order])
    np.savez(file, x=x, y=np.array(CLASSES)[[index // each for index in order]], **more)
    return file


def _npz(folder: Path) -> str:
    return f"npz:{signals(folder / 'signals.npz')}"


def _parquet(folder: Path) -> str:
    import polars as pl

    x = np.arange(40 * 6, dtype=np.float32).reshape(40, 6)
    table = {"signal": pl.Series(x.tolist(), dtype=pl.List(pl.Float32)), "label": ["up", "down"] * 20}
    pl.DataFrame(table).write_parquet(folder / "signals.parquet")
    return f"parquet:{folder / 'signals.parquet'}"


def _hdf5(folder: Path) -> str:
    h5py = pytest.importorskip("h5py")
    with h5py.File(folder / "signals.h5", "w") as file:
        file["x"] = np.arange(40 * 6, dtype=np.float32).reshape(40, 2, 3)
        file["y"] = ["up", "down"] * 20
    return f"hdf5:{folder / 'signals.h5'}"


def _hf(folder: Path) -> str:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["disc", "square"])})
    drawn = images.write(folder / "images", each=4)
    rows = [
        (str(file), file.parent.name) for file in sorted(drawn.rglob("*.jpg")) if file.parent.name in ("disc", "square")
    ]
    table = {"image": [file for file, _ in rows], "label": [label for _, label in rows]}
    datasets.Dataset.from_dict(table, features=features).save_to_disk(folder / "saved")
    return f"hf:{folder / 'saved'}"


def _webdataset(folder: Path) -> str:
    from shard import write

    drawn = images.write(folder / "images", each=4)
    files = [file for file in sorted(drawn.rglob("*.jpg")) if file.parent.name in ("disc", "square")]
    (folder / "shards").mkdir()
    rows = [(f"{file.parent.name}-{file.stem}", {"jpg": file.read_bytes(), "cls": file.parent.name}) for file in files]
    return f"webdataset:{write(folder / 'shards' / 'all-000.tar', rows).parent}"


def _text(folder: Path) -> str:
    reading = pytest.importorskip("reading")
    return f"text:{reading.texts(folder / 'texts')}"


def _domainnet(folder: Path) -> str:
    return f"domainnet:{official.domainnet(folder, 'real')}/real"


def _chexpert(folder: Path) -> str:
    return f"chexpert:{official.chexpert(folder)}"


def _imagenet(folder: Path) -> str:
    return f"imagenet:{official.imagenet(folder)}"


def _cifar10(folder: Path) -> str:
    return f"cifar10:{official.cifar(folder, 10)}"


def _cifar100(folder: Path) -> str:
    return f"cifar100:{official.cifar(folder, 100)}"


# Of sources that read files of the user's, which have no EXAMPLE of their own.
MADE: dict[str, Callable[[Path], str]] = {
    "chexpert": _chexpert,
    "cifar10": _cifar10,
    "cifar100": _cifar100,
    "csv": _csv,
    "domainnet": _domainnet,
    "folder": _folder,
    "hdf5": _hdf5,
    "hf": _hf,
    "imagenet": _imagenet,
    "npz": _npz,
    "parquet": _parquet,
    "text": _text,
    "torchvision": _torchvision,
    "webdataset": _webdataset,
}


def example(module: ModuleType, folder: Path) -> str:
    """A reference to something small: the source's own EXAMPLE, or what is written into `folder` for it here."""
    name = called(module, PACKAGE)
    found = getattr(module, "EXAMPLE", None)
    assert found or name in MADE, f"give {name} an EXAMPLE, a reference that needs nothing of the user's own"
    return str(found) if found else MADE[name](folder)


def check_source(module: ModuleType, folder: Path, ref: str | None = None) -> None:
    """The whole contract; `ref` is a reference to something small (by default `example`), `folder` an empty one.

    Skipped from where on the example needs a package that is not installed.
    """
    check_form(module)
    check_refusal(module)
    check_listing(module, folder, ref)


def check_form(module: ModuleType) -> None:
    check_first_line(module)
    check_light(module)
    options = arguments(module.listing)[1:]  # of a target, such as `columns`: all three functions take the same
    assert arguments(module.listing) == ["rest", *options] == arguments(module.check)
    assert arguments(module.fingerprint) == ["rest", "memo", *options] and set(options) <= set(data.Target.model_fields)
    for function in (module.listing, module.fingerprint, module.check):
        assert inspect.getdoc(function), f"{function.__name__} does not say what it does"


def check_refusal(module: ModuleType) -> None:
    """What it cannot read is one sentence of `check`, long before anything is decoded."""
    with pytest.raises(UserError) as caught:
        data.check_ref(f"{called(module, PACKAGE)}:/no such thing")
    assert "\n" not in str(caught.value) and str(caught.value).endswith((".", "?"))


def check_listing(module: ModuleType, folder: Path, ref: str | None = None) -> None:
    """The same names, labels, pixels and fingerprint whenever and wherever it is asked."""
    ref = ref or example(module, folder)
    try:
        data.check_ref(ref)
    except UserError as error:
        if "install" in str(error):
            pytest.skip(str(error))
        raise
    listing, again = data.open_listing(ref), data.open_listing(ref)
    assert list(listing.names) == sorted(set(listing.names)), "names are in an order of their own, each once"
    assert not any(Path(name).is_absolute() for name in listing.names), "a name holds on another machine"
    assert listing.ref == ref and listing.labels.dtype == (np.uint8 if listing.multilabel else np.int64)
    assert again.names == listing.names and (again.labels == listing.labels).all()
    load = pickle.loads(pickle.dumps(listing.load))  # it is sent to spawned processes
    for index in (0, len(listing.names) // 2, len(listing.names) - 1):
        ours, theirs = listing.load(index), load(index)
        if listing.holds == "texts":
            assert ours == theirs and ours.strip()
            continue
        if listing.holds == "images":
            ours, theirs = to_rgb(ours), to_rgb(theirs)
            assert min(ours.size) >= 8
        assert ours.tobytes() == theirs.tobytes()
    assert listing.licence or not hasattr(module, "EXAMPLE"), "data that comes along says under which terms"
    first = data.source_fingerprint(ref, folder / "memo")
    assert int(first, 16) and first == data.source_fingerprint(ref, folder / "memo") == data.source_fingerprint(ref)
