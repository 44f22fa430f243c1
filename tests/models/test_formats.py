"""What a file is that is no weights file: one sentence that names it and says how to get the weights."""

import argparse
import gzip
import io
import json
import os
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from transferscope.errors import UserError
from transferscope.models import check_weights_ref
from transferscope.models.checkpoint import read_state

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 46830571\n"
PAGE = b"<!DOCTYPE html><html><head><title>Quota exceeded</title></head><body>Too many users.</body></html>"


def zipped(names: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in names.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def tarred() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        info = tarfile.TarInfo("model.pth")
        info.size = 3
        archive.addfile(info, io.BytesIO(b"abc"))
    return buffer.getvalue()


def arrays() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, a=np.zeros(3))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("pointer.pth", POINTER, "Git LFS pointer.*git lfs pull"),
        ("pointer.safetensors", POINTER, "Git LFS pointer.*git lfs pull"),
        ("page.pth", PAGE, "web page.*download the weights"),
        ("page.safetensors", b"\n  <html>404</html>", "web page"),
        ("error.bin", b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "XML.*error message"),
        ("w.pth.gz", gzip.compress(b"x" * 100), "gzip archive; unpack"),
        ("w.pth.tar", tarred(), "tar archive; unpack"),
        ("w.h5", b"\x89HDF\r\n\x1a\n" + b"\0" * 200, "HDF5.*Keras"),
        ("w.pt", zipped({"config.json": b"{}", "model.weights.h5": b"x"}), "Keras file"),
        ("w.zip", zipped({"model/w.pth": b"x"}), r"zip archive \(it holds model/w\.pth\); unpack"),
        ("none.zip", zipped({}), "empty zip"),
        ("w.npz", arrays(), "NumPy archive"),
        ("net.onnx", b"\x08\x07\x12\x07pytorch\x1a", "ONNX"),
        ("model.ckpt.index", b"\x00\x00\x01\x02\x03" * 30, "index of a TensorFlow"),
        ("flax.msgpack", b"\x81\xa6params", "Flax"),
        ("model.safetensors.index.json", b'{"weight_map": {}}', "in several files"),
        ("config.json", b'{"a": 1}', "a JSON text"),
        ("w.bin", b"GGUF\x03\0\0\0", "GGUF"),
        ("cat.pth", b"\x89PNG\r\n\x1a\n", "PNG picture"),
        ("notes.pth", b"the weights are on the other disk\n", "a text file"),
        ("zeros.pth", b"\0" * 4096, "nothing but zeros"),
        ("none.pth", b"", "is empty"),
        ("none.safetensors", b"", "is empty"),
        ("odd.pth", bytes(range(128, 256)), "not a file of plain tensors"),
    ],
    ids=lambda value: "" if isinstance(value, bytes) else None,  # archives hold the time at which they were made
)
def test_a_file_of_another_kind_is_called_by_what_it_is(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=f"'{tmp_path}/{name}'.*{says}") as refused:
        read_state(tmp_path / name)
    assert "\n" not in str(refused.value)


def test_a_torchscript_archive_says_how_to_save_its_tensors(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Linear(3, 2))
    torch.jit.save(torch.jit.trace(net, torch.zeros(1, 3)), tmp_path / "script.pt")  # type: ignore[no-untyped-call]
    with pytest.raises(UserError, match=r"TorchScript archive.*torch\.jit\.load\('script\.pt'\)\.state_dict\(\)"):
        read_state(tmp_path / "script.pt")


def test_a_file_that_is_cut_short_says_by_how_much(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(1000)}, tmp_path / "whole.safetensors")
    whole = (tmp_path / "whole.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(whole[:-1000])
    with pytest.raises(UserError, match=rf"cut short \({len(whole) - 1000:,} of {len(whole):,} bytes\)"):
        read_state(tmp_path / "cut.safetensors")
    (tmp_path / "stub.safetensors").write_bytes(whole[:20])
    with pytest.raises(UserError, match="cut short within its header"):
        read_state(tmp_path / "stub.safetensors")
    torch.save({"a": torch.zeros(1000)}, tmp_path / "whole.pth")
    (tmp_path / "cut.pth").write_bytes((tmp_path / "whole.pth").read_bytes()[:-1000])
    with pytest.raises(UserError, match=r"zip archive.*damaged or cut short"):
        read_state(tmp_path / "cut.pth")


def test_a_name_does_not_hide_the_format(tmp_path: Path) -> None:
    save_file({"a": torch.ones(3)}, tmp_path / "w.pth")
    torch.save({"a": torch.ones(3)}, tmp_path / "w.safetensors")
    assert all(torch.equal(read_state(tmp_path / name)["a"], torch.ones(3)) for name in ("w.pth", "w.safetensors"))


def test_options_and_best_scores_beside_the_weights_do_no_harm(tmp_path: Path) -> None:
    extra = {"args": argparse.Namespace(lr=0.1), "best": np.float64(0.9), "step": np.int64(3), "arch": "resnet18"}
    for zipped_format in (True, False):
        content = {"state_dict": {"a": torch.ones(3)}, **extra}
        torch.save(content, tmp_path / "w.pth", _use_new_zipfile_serialization=zipped_format)
        assert torch.equal(read_state(tmp_path / "w.pth")["a"], torch.ones(3))


def test_paths_that_are_no_readable_files(tmp_path: Path) -> None:
    def says(path: Path) -> str:
        with pytest.raises(UserError) as refused:
            check_weights_ref(f"file:{path}", "timm:resnet18")
        return str(refused.value)

    assert "no file" in says(tmp_path / "absent.pth")
    (tmp_path / "hub").mkdir()
    (tmp_path / "hub" / "config.json").write_text(json.dumps({}))
    assert "a folder (it holds config.json)" in says(tmp_path / "hub")
    (tmp_path / "hub" / "best.pth").write_bytes(b"x")
    assert f"name the file in it, such as file:{tmp_path}/hub/best.pth" in says(tmp_path / "hub")
    (tmp_path / "hub" / "saved_model.pb").touch()
    assert "SavedModel" in says(tmp_path / "hub")
    (tmp_path / "dist").mkdir()
    (tmp_path / "dist" / "__0_0.distcp").touch()
    assert "dcp_to_torch_save" in says(tmp_path / "dist")
    (tmp_path / "link.pth").symlink_to(tmp_path / "blob")
    assert "a link to" in says(tmp_path / "link.pth")
    (tmp_path / "mine.pth").write_bytes(b"x")
    (tmp_path / "mine.pth").chmod(0)
    if not os.access(tmp_path / "mine.pth", os.R_OK):  # an administrator reads everything
        assert "may not be read" in says(tmp_path / "mine.pth")
