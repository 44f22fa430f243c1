"""A fine-tuned network as a folder that timm or transformers load, with a card that says what the study found."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transferscope.errors import UserError
from transferscope.exports.card import card
from transferscope.exports.runs import TrainedRun
from transferscope.models.networks import parted
from transferscope.report.results import Results
from transferscope.study import Study
from transferscope.tasks import inputs, restore
from transferscope.tasks.inputs import USUAL

if TYPE_CHECKING:
    from torch import nn

AT = ("final", "best", "ema")
WEIGHTS, CONFIG = "model.safetensors", "config.json"
CROPS = {"crop": "center", "pad": "border", "stretch": "squash"}  # timm's words for how pictures become squares


def write(study: Study, run: TrainedRun, found: Results, folder: Path, at: str = "final") -> Path:
    """Write `model.safetensors`, what its library needs to build the network around it, and `README.md`; the folder.

    timm's networks get the `config.json` of its `save_for_hf`, transformers' that of `save_pretrained`, both with the
    names of the classes; those of others a `config.json` that says what was built. `at` names the weights: "final",
    "best" (on val) or "ema". UserError for a folder that holds something, and for weights that the run did not keep.
    """
    if at not in AT:
        raise UserError(f"--at: '{at}' is none of {', '.join(AT)}.")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} holds something already; name a new folder for the network.")
    if not run.result.has(f"{at}.safetensors"):
        raise UserError(f"--at: the run '{run.name}' kept no weights '{at}'; set recipe.ema for averaged ones.")
    net = restore.bare(run.result, run.data)
    net.load_state_dict(restore.weights(run.result, at))
    classes = inputs.open_table(run.data.whole()).classes
    scheme, name, options = parted(restore.said(run.result)["network"])
    folder.mkdir(parents=True, exist_ok=True)
    if scheme == "timm":
        loads = _timm(net, name, options, classes, study, run, folder)
    elif scheme in ("transformers", "package") and hasattr(net, "save_pretrained"):
        loads = _transformers(net, classes, folder)
    else:
        loads = _others(net, scheme, name, options, classes, folder)
    (folder / "README.md").write_text(card(study, run, found, classes, at, loads), encoding="utf-8")
    return folder


def _timm(
    net: "nn.Module",
    name: str,
    options: dict[str, Any],
    classes: Sequence[str],
    study: Study,
    run: TrainedRun,
    folder: Path,
) -> list[str]:
    from timm.models._hub import save_config_for_hf  # its place in every release

    fed = {"mean": restore.said(run.result)["mean"], "std": restore.said(run.result)["std"], "crop_pct": 1.0}
    if study.input == USUAL:
        fed["input_size"] = [study.example.channels, study.image_size, study.image_size]
        fed["interpolation"] = study.preprocessing()["interpolation"]
        fed["crop_mode"] = CROPS[study.recipe.fit]
    said = {"pretrained_cfg": fed, "label_names": list(classes)}
    where: Any = folder / CONFIG  # older releases take no text
    save_config_for_hf(net, where, model_config=said, model_args=options)
    _weights(net, folder)
    more = "".join(f", {key}={value!r}" for key, value in options.items())
    made = f'"{name}", num_classes={len(classes)}, checkpoint_path="{folder.name}/{WEIGHTS}"{more}'
    return ["import timm", f"net = timm.create_model({made}).eval()"]


def _transformers(net: Any, classes: Sequence[str], folder: Path) -> list[str]:
    net.config.id2label = dict(enumerate(classes))
    net.config.label2id = {name: number for number, name in enumerate(classes)}
    net.save_pretrained(folder)
    kind = "SequenceClassification" if "SequenceClassification" in type(net).__name__ else "ImageClassification"
    auto = f"AutoModelFor{kind}"
    return [f"from transformers import {auto}", f'net = {auto}.from_pretrained("{folder.name}").eval()']


def _others(
    net: "nn.Module", scheme: str, name: str, options: dict[str, Any], classes: Sequence[str], folder: Path
) -> list[str]:
    _weights(net, folder)
    said = {"network": f"{scheme}:{name}", "options": options, "label_names": list(classes)}
    (folder / CONFIG).write_text(json.dumps(said, indent=2) + "\n", encoding="utf-8")
    loads = ["from safetensors.torch import load_file", f"net = ...  # {scheme}:{name} with {len(classes)} classes"]
    if scheme == "torchvision":
        more = "".join(f", {key}={value!r}" for key, value in options.items())
        made = f"torchvision.models.{name}(num_classes={len(classes)}{more})"
        loads = ["import torchvision", loads[0], f"net = {made}.eval()"]
    return [*loads, f'net.load_state_dict(load_file("{folder.name}/{WEIGHTS}"))']


def _weights(net: "nn.Module", folder: Path) -> None:
    from safetensors.torch import save_file

    state = {key: tensor.contiguous().clone() for key, tensor in net.state_dict().items()}
    save_file(state, folder / WEIGHTS, metadata={"format": "pt"})
