"""Checkpoints as other people's libraries write them: the network that comes out answers as the one that went in."""

import argparse
import copy
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.utils import CheckpointSaver, ModelEmaV3
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from transferscope.errors import UserError
from transferscope.models.build import build_network, head_names
from transferscope.models.checkpoint import read_state
from transferscope.models.load_report import Loaded
from transferscope.models.loading import fit
from transferscope.models.pretrained import check_weights_ref, weights_fingerprint, weights_state

REF, CLASSES = "timm:test_resnet", 4
X = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def network(seed: int = 1, ref: str = REF) -> nn.Module:
    """With running statistics and affine parameters of its own, as training leaves them."""
    net = build_network(ref, CLASSES, seed=seed)
    draw = torch.Generator().manual_seed(seed)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight.data, module.bias.data, module.running_mean, module.running_var):
                assert tensor is not None
                tensor.add_(torch.rand(tensor.shape, generator=draw))
    return net


def answers(net: nn.Module) -> Tensor:
    with torch.no_grad():
        out: Tensor = net.eval()(X)
    return out


def loaded_like(original: nn.Module, place: Path | str, atol: float = 1e-5) -> Loaded:
    """What `file:place` gives a fresh network, which answers as `original` once it has that one's head."""
    net = build_network(REF, CLASSES, seed=0)
    head = head_names(net, CLASSES)
    check_weights_ref(f"file:{place}", REF)
    found, loaded = fit(net, weights_state(f"file:{place}", REF), head=head)
    own = {name: tensor for name, tensor in original.state_dict().items() if name.startswith(head)}
    net.load_state_dict({**net.state_dict(), **found, **own})
    assert loaded.share == 1 and loaded.unfilled == ()
    torch.testing.assert_close(answers(net), answers(original), atol=atol, rtol=1e-5)
    return loaded


def refused(place: Path | str) -> str:
    net = build_network(REF, CLASSES, seed=0)
    with pytest.raises(UserError) as error:
        fit(net, weights_state(f"file:{place}", REF), head=head_names(net, CLASSES))
    return str(error.value)


def moved(net: nn.Module) -> nn.Module:
    other = copy.deepcopy(net)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(1.1)
    return other


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_lightning(tmp_path: Path) -> None:
    lightning = pytest.importorskip("lightning.pytorch", exc_type=ImportError)

    class Lit(lightning.LightningModule):  # type: ignore[name-defined,misc]
        def __init__(self, model: nn.Module, lr: float = 0.01, where: Path = tmp_path) -> None:
            super().__init__()
            self.save_hyperparameters(ignore=["model"])
            self.model = model

        def training_step(self, batch: Any, _: int) -> Tensor:
            return nn.functional.cross_entropy(self.model(batch[0]), batch[1])

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=0.01, momentum=0.9)

    def trained(model: nn.Module, name: str, *callbacks: Any) -> Path:
        quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
        trainer = lightning.Trainer(
            max_epochs=1, enable_checkpointing=False, callbacks=[*callbacks], default_root_dir=str(tmp_path), **quiet
        )
        trainer.fit(Lit(model), torch.utils.data.DataLoader([(x, 1) for x in X], batch_size=2))
        trainer.save_checkpoint(tmp_path / name)
        return tmp_path / name

    net = network()
    assert loaded_like(net, trained(net, "plain.ckpt")).under == "state_dict.model"
    averaging = getattr(lightning.callbacks, "EMAWeightAveraging", None)
    if averaging is not None:  # since 2.6
        net = network()
        path = trained(net, "ema.ckpt", averaging(decay=0.5))
        assert "current_model_state" in torch.load(path, weights_only=False)
        loaded_like(net, path)


def test_timms_training_script(tmp_path: Path) -> None:
    net = network()
    ema = ModelEmaV3(net)
    ema.module.load_state_dict(moved(net).state_dict())
    saver = CheckpointSaver(
        net,
        torch.optim.AdamW(net.parameters()),
        args=argparse.Namespace(model="resnet", lr=0.1, output=tmp_path),
        model_ema=ema,
        checkpoint_dir=str(tmp_path),
        recovery_dir=str(tmp_path),
    )
    saver.save_checkpoint(0, 0.5)
    file = tmp_path / "last.pth.tar"
    assert f"'file:{file}#state_dict', or #state_dict_ema" in refused(file)
    assert "it is under #state_dict, #state_dict_ema." in refused(f"{file}#averaged")
    assert loaded_like(net, f"{file}#state_dict").notes == (
        "the file also has other values of it, under state_dict_ema",
    )
    loaded_like(ema.module, f"{file}#state_dict_ema")
    prints = {weights_fingerprint(f"file:{file}#{part}", REF) for part in ("state_dict", "state_dict_ema")}
    assert len(prints) == 2


def test_torchvisions_training_script(tmp_path: Path) -> None:
    net = network()
    optimiser = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    averaged = AveragedModel(moved(net))
    torch.save(
        {
            "model": net.state_dict(),
            "optimizer": optimiser.state_dict(),
            "lr_scheduler": torch.optim.lr_scheduler.StepLR(optimiser, 1).state_dict(),
            "epoch": 3,
            "args": argparse.Namespace(data_path="/data", output_dir=tmp_path, device=torch.device("cpu")),
            "model_ema": averaged.state_dict(),
        },
        tmp_path / "checkpoint.pth",
    )
    assert "#model', or #model_ema" in refused(tmp_path / "checkpoint.pth")
    loaded_like(net, f"{tmp_path}/checkpoint.pth#model")
    assert loaded_like(averaged.module, f"{tmp_path}/checkpoint.pth#model_ema").under == "model_ema.module"


WRAPPED: dict[str, tuple[Callable[[nn.Module], nn.Module], str]] = {
    "DataParallel": (nn.DataParallel, "module"),
    "compile": (lambda net: torch.compile(net, backend="eager"), "_orig_mod"),  # type: ignore[dict-item,return-value]
    "both": (lambda net: nn.DataParallel(torch.compile(net, backend="eager")), "module._orig_mod"),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("way", WRAPPED)
def test_wrappers(tmp_path: Path, way: str) -> None:
    wrap, under = WRAPPED[way]
    net = network()
    torch.save(wrap(net).state_dict(), tmp_path / "w.pth")
    assert loaded_like(net, tmp_path / "w.pth").under == under


def test_processes_that_train_together(tmp_path: Path) -> None:
    """DistributedDataParallel, and FSDP with its full state gathered, in a group of one process."""
    from torch.distributed import fsdp
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

    if not hasattr(fsdp, "fully_shard"):
        pytest.skip("an older torch has no fully_shard there")
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/group", rank=0, world_size=1)
    try:
        net = network()
        torch.save({"model": nn.parallel.DistributedDataParallel(net).state_dict()}, tmp_path / "ddp.pth")
        whole = copy.deepcopy(net)
        fsdp.fully_shard(whole, mesh=torch.distributed.device_mesh.init_device_mesh("cpu", (1,)))
        torch.save(get_model_state_dict(whole, options=StateDictOptions(full_state_dict=True)), tmp_path / "fsdp.pth")
    finally:
        torch.distributed.destroy_process_group()
    assert loaded_like(net, tmp_path / "ddp.pth").under == "model.module"
    assert loaded_like(net, tmp_path / "fsdp.pth").under == ""


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_half_precision(tmp_path: Path, kind: torch.dtype) -> None:
    half = copy.deepcopy(network()).to(kind)
    torch.save(half.state_dict(), tmp_path / "half.pth")
    loaded = loaded_like(half.float(), tmp_path / "half.pth")
    assert f"stored as {str(kind).removeprefix('torch.')}" in loaded.sentences()[0]


def test_accelerate(tmp_path: Path) -> None:
    accelerate = pytest.importorskip("accelerate", exc_type=ImportError)
    net = network()
    accelerator = accelerate.Accelerator(cpu=True)
    model, _ = accelerator.prepare(net, torch.optim.SGD(net.parameters(), lr=0.1))
    accelerator.save_state(str(tmp_path / "state"))
    accelerator.save_state(str(tmp_path / "pickled"), safe_serialization=False)
    accelerator.save_model(model, str(tmp_path / "shards"), max_shard_size="300KB")
    accelerator.save_model(model, str(tmp_path / "bins"), max_shard_size="300KB", safe_serialization=False)
    assert len(list((tmp_path / "shards").glob("*.safetensors"))) > 1 < len(list((tmp_path / "bins").glob("*.bin")))
    for folder in ("state", "pickled", "shards", "bins"):
        loaded_like(net, tmp_path / folder)
    accelerator.prepare(network(2))
    accelerator.save_state(str(tmp_path / "two"))
    assert "name the file in it" in refused(tmp_path / "two")
    loaded_like(net, tmp_path / "two" / "model.safetensors")


def sharded(net: nn.Module, folder: Path) -> list[Path]:
    """As `save_pretrained` writes shards, two of them."""
    folder.mkdir()
    state, files = net.state_dict(), [f"model-0000{k}-of-00002.safetensors" for k in (1, 2)]
    held = {name: files[k % 2] for k, name in enumerate(state)}
    for file in files:
        save_file({name: state[name].contiguous() for name in state if held[name] == file}, folder / file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": held}))
    return [folder / file for file in files]


def test_shards_are_one_network(tmp_path: Path) -> None:
    net = network()
    first, second = sharded(net, tmp_path / "m")
    save_file({n: t.contiguous() for n, t in net.state_dict().items()}, tmp_path / "one.safetensors")
    index = tmp_path / "m" / "model.safetensors.index.json"
    for place in (tmp_path / "m", index):
        loaded_like(net, place)
        assert weights_fingerprint(f"file:{place}", REF) == weights_fingerprint(f"file:{tmp_path}/one.safetensors", REF)
    assert f"is one of 2 parts of a network; give file:{index}" in refused(first)
    held = json.loads(index.read_text())["weight_map"]
    index.write_text(json.dumps({"weight_map": {**held, "extra.weight": second.name}}))
    assert f"names 'extra.weight', which '{second.name}' does not hold" in refused(index)
    index.write_text(json.dumps({"weight_map": {**held, "extra.weight": "../one.safetensors"}}))
    assert "without a 'weight_map'" in refused(index)
    index.write_text(json.dumps({"weight_map": held}))
    second.unlink()
    assert f"lacks 1 of the 2 files with weights that its index names ('{second.name}' is one)" in refused(
        tmp_path / "m"
    )


def test_a_shard_that_changes_is_read_anew(tmp_path: Path) -> None:
    sharded(network(1), tmp_path / "m")
    before = weights_fingerprint(f"file:{tmp_path}/m", REF, tmp_path)
    assert weights_fingerprint(f"file:{tmp_path}/m", REF, tmp_path) == before
    first, _ = sharded(network(2), tmp_path / "other")
    first.replace(tmp_path / "m" / first.name)
    assert weights_fingerprint(f"file:{tmp_path}/m", REF, tmp_path) != before


@pytest.mark.skipif(not hasattr(timm.models, "save_for_hf"), reason="an older timm keeps it elsewhere")
def test_what_timm_pushes_to_the_hub(tmp_path: Path) -> None:
    net = network()
    with warnings.catch_warnings(action="ignore"):
        timm.models.save_for_hf(net, str(tmp_path / "hub"))
    loaded_like(net, tmp_path / "hub")


@pytest.mark.slow
def test_transformers(tmp_path: Path) -> None:
    """timm's networks in transformers keep timm's names; transformers' own have others, and are refused by name."""
    transformers = pytest.importorskip("transformers", exc_type=ImportError)
    wrapped = transformers.TimmWrapperForImageClassification(
        transformers.TimmWrapperConfig(architecture="test_resnet", num_labels=CLASSES, pretrained=False)
    )
    wrapped.save_pretrained(tmp_path / "timm")
    wrapped.save_pretrained(tmp_path / "sharded", max_shard_size="300KB")
    for folder in ("timm", "sharded"):
        loaded_like(wrapped.timm_model, tmp_path / folder)
    sizes = {"hidden_sizes": [8, 8], "depths": [1, 1], "embedding_size": 8}
    transformers.ResNetForImageClassification(transformers.ResNetConfig(**sizes)).save_pretrained(tmp_path / "own")
    assert "config.json says ResNetForImageClassification, whose layers may be called otherwise" in refused(
        tmp_path / "own"
    )


def under(prefix: str, net: nn.Module) -> dict[str, Tensor]:
    return {prefix + name: tensor for name, tensor in net.state_dict().items()}


def test_self_supervised_pairs(tmp_path: Path) -> None:
    """As the scripts of MoCo, DINO and BYOL save them."""
    one, two = network(1), network(2)
    queue = {"module.queue": torch.zeros(8, 4), "module.queue_ptr": torch.zeros(1, dtype=torch.long)}
    moco = {
        "epoch": 1,
        "arch": "r",
        "state_dict": {**under("module.encoder_q.", one), **under("module.encoder_k.", two)},
    }
    moco["state_dict"].update(queue)  # type: ignore[attr-defined]
    dino = {"student": under("module.backbone.", one), "teacher": under("backbone.", two), "dino_loss": {"center": X}}
    byol = {**under("online_encoder.net.", one), **under("target_encoder.net.", two)}
    for content, parts in (
        (moco, ("encoder_q", "encoder_k")),
        (dino, ("student", "teacher")),
        (byol, ("online_encoder", "target_encoder")),
    ):
        torch.save(content, tmp_path / "w.pth")
        assert f"#{parts[0]}', or #{parts[1]}." in refused(tmp_path / "w.pth")
        assert f"it is under #{parts[0]}, #{parts[1]}." in refused(f"{tmp_path}/w.pth#nothing")
        for part, net in zip(parts, (one, two), strict=True):
            assert loaded_like(net, f"{tmp_path}/w.pth#{part}").notes


def test_no_pickle_runs(tmp_path: Path) -> None:
    class Armed:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "ran",))

    torch.save({"state_dict": network().state_dict(), "hooks": Armed()}, tmp_path / "w.pth")
    with pytest.raises(UserError, match="loading it could run code"):
        read_state(tmp_path / "w.pth")
    (tmp_path / "m").mkdir()
    torch.save({"hooks": Armed()}, tmp_path / "m" / "pytorch_model-00001-of-00002.bin")
    (tmp_path / "m" / "pytorch_model.bin.index.json").write_text(
        json.dumps({"weight_map": {"a": "pytorch_model-00001-of-00002.bin"}})
    )
    with pytest.raises(UserError, match="loading it could run code"):
        read_state(tmp_path / "m")
    assert not (tmp_path / "ran").exists()
