"""What a file is, told from its first bytes: other things than weights often carry a weights file's name."""

import json
import os
import zipfile
from pathlib import Path

START = 512  # bytes that are looked at
INSIDE = ("*.safetensors", "*.pth", "*.pt", "*.bin", "*.ckpt")  # weights in a folder, the best first
OTHER = ("optimizer", "scheduler", "sampler", "scaler", "random_states", "rng_state", "training_args")  # and no weights

# The first bytes, what such a file is, and what to do about it.
MAGIC: tuple[tuple[bytes, str, str], ...] = (
    (b"version https://git-lfs", "a Git LFS pointer, not the weights it points to", "run 'git lfs pull' in its folder"),
    (b"\x89HDF", "an HDF5 file, as Keras writes it", "load it in Keras and save the network as a PyTorch state_dict"),
    (b"\x1f\x8b", "a gzip archive", "unpack it with 'gunzip' or 'tar -xzf'"),
    (b"BZh", "a bzip2 archive", "unpack it with 'bunzip2' or 'tar -xjf'"),
    (b"\xfd7zXZ", "an xz archive", "unpack it with 'unxz' or 'tar -xJf'"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard archive", "unpack it with 'unzstd'"),
    (b"7z\xbc\xaf", "a 7z archive", "unpack it with '7z x'"),
    (b"Rar!", "a RAR archive", "unpack it"),
    (b"\x93NUMPY", "a NumPy array", "save a PyTorch state_dict, whose tensors have names"),
    (b"GGUF", "a GGUF file", "take the PyTorch or safetensors weights it was made from"),
    (b"TFL3", "a TensorFlow Lite network", "take the weights it was made from"),
    (b"%PDF", "a PDF document", "download the weights themselves"),
    (b"\x89PNG", "a PNG picture", "give the path of the weights"),
    (b"\xff\xd8\xff", "a JPEG picture", "give the path of the weights"),
    (b"<?xml", "an XML document, such as a server's error message", "download the weights themselves"),
)
SUFFIXES = {
    ".onnx": ("an ONNX graph", "save the state_dict() of the PyTorch network it was exported from"),
    ".h5": ("a Keras file by its name", "load it in Keras and save the network as a PyTorch state_dict"),
    ".msgpack": ("a Flax file by its name", "convert it to a PyTorch state_dict"),
    ".index": ("the index of a TensorFlow checkpoint", "convert the checkpoint to a PyTorch state_dict"),
    ".pb": ("a TensorFlow graph by its name", "convert it to a PyTorch state_dict"),
    ".tflite": ("a TensorFlow Lite network", "take the weights it was made from"),
}


def is_safetensors(path: Path) -> bool:
    """Whether a file begins as safetensors do: eight bytes of a length, then JSON."""
    with path.open("rb") as file:
        start = file.read(9)
    return len(start) == 9 and start[8:] == b"{" and int.from_bytes(start[:8], "little") < 100_000_000


def what_it_is(path: Path) -> str | None:
    """ "a gzip archive; unpack it ...": what the file is that is no weights file, and what to do; None when unknown.

    Raises OSError when the file cannot be read.
    """
    with path.open("rb") as file:
        start = file.read(START)
    for magic, what, todo in MAGIC:
        if start.startswith(magic):
            return f"{what}; {todo}"
    if start[257:262] == b"ustar":
        return "a tar archive; unpack it with 'tar -xf'"
    if start.startswith(b"PK"):
        return _zip(path)
    if start.strip(b"\0") == b"":
        return "nothing but zeros, as an unfinished download leaves; download it again"
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype", b"<html", b"<head")):
        return "a web page (a download that was refused or asks for a click); download the weights themselves"
    if text.startswith((b"{", b"[")):
        return _json(path)
    if path.suffix.lower() in SUFFIXES:
        return "{}; {}".format(*SUFFIXES[path.suffix.lower()])
    if _is_text(start):
        return "a text file; give the path of the weights"
    return None


def what_the_folder_is(path: Path) -> str:
    """ "a folder; ...": which of the files in it to name."""
    if (path / "saved_model.pb").exists():
        return "a folder with a TensorFlow SavedModel; convert it to a PyTorch state_dict"
    if (path / ".metadata").exists() or any(path.glob("*.distcp")):
        return (
            "a folder with a distributed checkpoint; put it into one file with "
            "torch.distributed.checkpoint.format_utils.dcp_to_torch_save"
        )
    inside = [file.name for pattern in INSIDE for file in sorted(path.glob(pattern)) if not file.name.startswith(OTHER)]
    if inside:
        return f"a folder; name the file in it, such as file:{path / inside[0]}"
    held = ", ".join(sorted(file.name for file in path.iterdir())[:3]) or "nothing"
    return f"a folder (it holds {held}); give the path of a .safetensors or .pth file"


def why_cut_short(path: Path) -> str | None:
    """How many bytes a safetensors file lacks by its own header; None when none or when the header is no JSON."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 + length:
            return "cut short within its header; download or copy it again"
        try:
            header = json.loads(file.read(length))
            whole = 8 + length + max(entry["data_offsets"][1] for n, entry in header.items() if n != "__metadata__")
        except (ValueError, KeyError, TypeError, AttributeError):
            return None
    return f"cut short ({size:,} of {whole:,} bytes); download or copy it again" if size < whole else None


def _zip(path: Path) -> str | None:
    """None for what torch.save writes, which is a zip archive too."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError):
        return "a zip archive (as torch.save writes it) that is damaged or cut short; download or copy it again"
    if any(name.endswith("constants.pkl") or "/code/" in name for name in names):
        return (
            "a TorchScript archive, which holds a program; save its tensors with "
            f"torch.save(torch.jit.load('{path.name}').state_dict(), 'weights.pth')"
        )
    if any(name.endswith("data.pkl") for name in names):
        return None
    if any(name.endswith(".weights.h5") for name in names):
        return "a Keras file; load it in Keras and save the network as a PyTorch state_dict"
    if names and all(name.endswith(".npy") for name in names):
        return "a NumPy archive (.npz); convert it to a PyTorch state_dict"
    if not names:
        return "an empty zip archive; download it again"
    return f"a zip archive (it holds {', '.join(names[:3])}); unpack it"


def _json(path: Path) -> str:
    if "index" in path.name:
        return "the index of weights in several files, but without a 'weight_map' of their names; download it again"
    return "a JSON text; give the path of the weights"


def _is_text(start: bytes) -> bool:
    """Whether the bytes are printable ASCII text of some length, which no pickle is."""
    return len(start) > 8 and all(32 <= byte < 127 or byte in b"\t\r\n" for byte in start)


def unreadable(path: Path) -> str | None:
    """Why a path cannot be read at all: absent, a folder, empty, not permitted; None where it can."""
    if path.is_dir():
        return f"'{path}' is {what_the_folder_is(path)}"
    if path.is_symlink() and not path.exists():
        return f"'{path}' is a link to {path.readlink()}, which is not there; fetch that file"
    if path.exists() and not path.is_file():
        return f"'{path}' is a pipe, a socket or a device; file: takes the path of a .safetensors or .pth file"
    if not path.is_file():
        return f"no file '{path}'; file: takes the path of a .safetensors or .pth file"
    if not os.access(path, os.R_OK):
        return f"'{path}' may not be read by this user; change its permissions ('chmod u+r')"
    return f"'{path}' is empty; download or copy it again" if path.stat().st_size == 0 else None
