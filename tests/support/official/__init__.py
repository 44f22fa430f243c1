"""Tiny trees in the formats that DomainNet, CheXpert, ImageNet and CIFAR are published in, and checkpoints in that of
the paper's code."""

import re
import struct
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from smoke.images import picture

CLASSES = ("aircraft_carrier", "airplane", "alarm_clock")
HEAD = (
    "Path,Sex,Age,Frontal/Lateral,AP/PA,No Finding,Enlarged Cardiomediastinum,Cardiomegaly,Lung Opacity,Lung Lesion,"
    "Edema,Consolidation,Pneumonia,Atelectasis,Pneumothorax,Pleural Effusion,Pleural Other,Fracture,Support Devices"
)


def domainnet(root: Path, domain: str, train: int = 8, test: int = 4) -> Path:
    """Images of three classes, `train` and `test` of each, and the two lists."""
    numbers = {"train": range(train), "test": range(train, train + test)}
    for split, of in numbers.items():
        lines = []
        for label, name in enumerate(CLASSES):
            (root / domain / name).mkdir(parents=True, exist_ok=True)
            for number in of:
                path = f"{domain}/{name}/{domain}_{label:03d}_{number:06d}.jpg"
                picture(label, number).save(root / path)
                lines.append(f"{path} {label}")
        (root / f"{domain}_{split}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return root


def films(count: int) -> list[list[str]]:
    """The cells of `count` lines of CheXpert's table, two films a patient, every answer to every finding among them."""
    answers = ("1.0", "", "0.0", "-1.0")
    rows = []
    for number in range(count):
        path = f"CheXpert-v1.0-small/train/patient{number // 2:05d}/study1/view{number % 2 + 1}_frontal.jpg"
        rows.append([path, "Female", "68", "Frontal", "AP", *(answers[(number // (k + 1) + k) % 4] for k in range(14))])
    return rows


def chexpert(root: Path, count: int = 24) -> Path:
    """Films and their table; the marks in a film are those of its labels, so that there is something to learn."""
    rows = films(count)
    for number, row in enumerate(rows):
        file = root / row[0].partition("/")[2]
        file.parent.mkdir(parents=True, exist_ok=True)
        grey = np.random.default_rng(number).integers(60, 120, (40, 44), dtype=np.uint8)
        for k, cell in enumerate(row[5:]):
            if cell == "1.0":
                grey[2 * k : 2 * k + 8, 3 * k : 3 * k + 3] = 230
        Image.fromarray(grey).save(file)
    (root / "train.csv").write_text("\n".join([HEAD, *map(",".join, rows)]) + "\n", encoding="utf-8")
    return root


def imagenet(root: Path, flat: bool = True, each: int = 3) -> Path:
    """Three classes, of each so many training and validation images, `flat` with a devkit that labels them."""
    from scipy.io import savemat

    ids = ("n01443537", "n01440764", "n01484850")  # in the devkit's order, which is not that of the alphabet
    for label, name in enumerate(ids):
        for part in ("train",) if flat else ("train", "val"):
            (root / part / name).mkdir(parents=True, exist_ok=True)
            for number in range(each):
                picture(label, number + 10 * (part == "val")).save(root / part / name / f"{name}_{number}.JPEG", "JPEG")
    if not flat:
        return root
    (root / "val").mkdir()
    truth = [1 + number % 3 for number in range(3 * each)]
    for number, label in enumerate(truth, 1):
        picture(label - 1, number + 20).save(root / "val" / f"ILSVRC2012_val_{number:08d}.JPEG", "JPEG")
    data = root / "ILSVRC2012_devkit_t12" / "data"
    data.mkdir(parents=True)
    (data / "ILSVRC2012_validation_ground_truth.txt").write_text("\n".join(map(str, truth)) + "\n", encoding="ascii")
    synsets = np.array(
        [(number, name, name) for number, name in enumerate(ids, 1)],
        dtype=[("ILSVRC2012_ID", "O"), ("WNID", "O"), ("words", "O")],
    )
    savemat(data / "meta.mat", {"synsets": synsets.reshape(-1, 1)})
    return root


def checkpoint(file: Path, net: torch.nn.Module, epoch: int) -> Path:
    """The weights of a Fixup ResNet as the paper's code saves them: scalars by its names, all behind `module.`."""
    body = {name.replace("fc.input_bias", "bias2"): tensor for name, tensor in net.state_dict().items()}
    state = {"module." + re.sub(r"(bias\d[ab]?)\.bias$", r"\1", name): tensor for name, tensor in body.items()}
    torch.save({"epoch": epoch, "state_dict": state, "best_acc1": 0.0, "optimizer": {"state": {}}}, file)
    return file


def python2(value: Any) -> bytes:
    """What cPickle of Python 2 wrote, by hand: dictionaries, lists, texts as byte strings, small numbers and uint8."""
    return b"\x80\x02" + _written(value) + b"."


def _written(value: Any) -> bytes:
    if isinstance(value, dict):
        return b"}(" + b"".join(_written(k) + _written(v) for k, v in value.items()) + b"u"
    if isinstance(value, list):
        return b"](" + b"".join(map(_written, value)) + b"e"
    if isinstance(value, str):
        return b"U" + bytes([len(value)]) + value.encode("ascii")
    if isinstance(value, int):
        return b"J" + struct.pack("<i", value)
    array: np.ndarray = value
    made = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
    kind = b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    raw = array.tobytes()
    shape = b"".join(map(_written, array.shape)) + b"\x86"
    return made + b"(K\x01" + shape + kind + b"\x89T" + struct.pack("<i", len(raw)) + raw + b"tb"


def planes(label: int, number: int) -> np.ndarray:
    """An image as CIFAR has it: 1,024 red values, then green, then blue."""
    return np.asarray(picture(label % 3, number).resize((32, 32))).transpose(2, 0, 1).reshape(-1)


def cifar(root: Path, classes: int, each: int = 2) -> Path:
    """Both splits, with `each` images of every class in a file."""
    ten = classes == 10
    folder = root / ("cifar-10-batches-py" if ten else "cifar-100-python")
    folder.mkdir(parents=True)
    parts = (*(f"data_batch_{n}" for n in range(1, 6)), "test_batch") if ten else ("train", "test")
    for place, name in enumerate(parts):
        labels = [number % classes for number in range(each * classes)]
        data = np.stack([planes(label, 100 * place + number) for number, label in enumerate(labels)])
        said = {"labels": labels} if ten else {"fine_labels": labels, "coarse_labels": [0] * len(labels)}
        (folder / name).write_bytes(python2({"batch_label": name, **said, "data": data}))
    names = [f"kind {number}" for number in range(classes)]
    meta = {"label_names": names} if ten else {"fine_label_names": names, "coarse_label_names": ["any"]}
    (folder / ("batches.meta" if ten else "meta")).write_bytes(python2(meta))
    return root
