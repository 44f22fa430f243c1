"""Networks of Hugging Face's transformers: told by what their files say, filled, cut, and refused in one sentence."""

import json
import shutil
from pathlib import Path
from typing import Any

import hugging
import pytest
import torch
from filling import load_into
from torch import Tensor

from transferscope import models
from transferscope.errors import UserError
from transferscope.models.blocks import blocks
from transferscope.models.build import build_network, head_names
from transferscope.models.loading import fit
from transferscope.models.pretrained import describe_weights, weights_fingerprint, weights_state
from transferscope.registry import apart, joined
from transferscope.study import Study

BLOCKS = {
    "vit": ["vit.embeddings", "vit.layers.0", "vit.layers.1", "vit.layernorm", "classifier"],
    "convnext": ["convnext.embeddings", "convnext.encoder.stages.0.layers.0", "convnext.encoder.stages.1.layers.0"],
    "swin": ["swin.embeddings", "swin.encoder.layers.0.blocks.0", "swin.encoder.layers.1.blocks.0", "classifier"],
    "resnet": ["resnet.embedder", "resnet.encoder.stages.0.layers.0", "resnet.encoder.stages.1.layers.0"],
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one network of each kind."""
    top = tmp_path_factory.mktemp("hugging")
    for kind in hugging.KINDS:
        hugging.write(top / kind, kind)
    return top


def text(folders: Path, kind: str, **options: Any) -> str:
    return models.settled(joined(f"transformers:{kind}", options), folders)


@pytest.mark.parametrize("kind", hugging.KINDS)
def test_a_folder_is_built_filled_and_cut(kind: str, folders: Path) -> None:
    network = text(folders, kind)
    assert str(folders) not in network and network.startswith(f"transformers:{kind}?")
    net, again = (build_network(network, 3, seed=2) for _ in range(2))
    assert all(map(torch.equal, net.state_dict().values(), again.state_dict().values()))
    names = [block.name.replace("vit.encoder.layer.", "vit.layers.") for block in blocks(net)]  # as of 5.14
    assert [name for name in names if name in BLOCKS[kind]] == BLOCKS[kind]
    head = head_names(net, 3)
    assert [name.partition(".")[0] for name in head] == ["classifier"]
    wanted = hugging.values(folders / kind)
    for ref in (f"transformers:{folders / kind}", f"file:{folders / kind / 'model.safetensors'}"):
        found, loaded = fit(net, weights_state(ref, network), head=head)
        assert loaded.share == 1 and not loaded.unfilled and not loaded.unexpected
        assert all(torch.equal(found[name], wanted[name]) for name in found)
    out = net.eval()(torch.zeros(2, 3, 32, 32))
    assert out.logits.shape == (2, 3)


def test_equal_networks_have_equal_texts_wherever_they_lie(folders: Path, tmp_path: Path) -> None:
    shutil.copytree(folders / "vit", tmp_path / "elsewhere" / "mine")
    config = tmp_path / "elsewhere" / "mine" / "config.json"
    said = json.loads(config.read_text())
    told = {"id2label": {"0": "cat"}, "label2id": {"cat": 0}, "transformers_version": "4.0", "dtype": "float16"}
    config.write_text(json.dumps(dict(reversed((said | told).items()))))
    there = models.settled("transformers:elsewhere/mine", tmp_path)
    assert there == text(folders, "vit") == models.settled(there, Path("/nowhere"))
    config.write_text(json.dumps(said | {"num_hidden_layers": 3}))
    assert models.settled("transformers:elsewhere/mine", tmp_path) != there


def test_options_change_the_configuration(folders: Path) -> None:
    net: Any = build_network(text(folders, "vit", image_size=64, hidden_dropout_prob=0.3), 3, seed=0)
    assert net.config.image_size == 64 and net.config.hidden_dropout_prob == 0.3 and net.config.hidden_size == 16
    loaded = load_into(net, weights_state(f"transformers:{folders / 'vit'}", "transformers:vit"), head=("classifier",))
    assert loaded.share > 0.99 and "resampled to 8 x 8" in str(loaded.adapted)
    plain: Any = build_network('transformers:convnext?{"depths":[1,1],"hidden_sizes":[8,8],"num_stages":2}', 3, seed=0)
    assert plain.config.hidden_sizes == [8, 8]


def test_a_network_with_two_heads_has_both_replaced() -> None:
    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    config = {**small, "image_size": 32, "architectures": ["DeiTForImageClassificationWithTeacher"]}
    net = build_network(joined("transformers:deit", {"config": config}), 3, seed=0)
    assert head_names(net, 3) == ("cls_classifier", "distillation_classifier")


def test_what_the_processor_says_is_used(folders: Path, tmp_path: Path) -> None:
    how = describe_weights(f"transformers:{folders / 'vit'}", "transformers:vit")
    assert how["mean"] == [0.5, 0.4, 0.3] and how["std"] == [0.2, 0.25, 0.5] and how["interpolation"] == "bilinear"
    assert models.meant_for("transformers:vit", folders) == 32 and models.meant_for("timm:resnet18", folders) is None
    file = shutil.copytree(folders / "vit", tmp_path / "vit") / "preprocessor_config.json"

    def told(**more: Any) -> dict[str, Any]:
        file.write_text(json.dumps(hugging.PROCESSOR | more))
        return describe_weights(f"transformers:{tmp_path / 'vit'}", "transformers:vit")

    assert told(do_normalize=False)["mean"] == [0, 0, 0] and told(do_normalize=False)["std"] == [1, 1, 1]
    pixels = torch.linspace(0, 255, 7)
    changes: tuple[dict[str, Any], ...] = (
        {"rescale_factor": 1 / 127.5, "rescale_offset": True},
        {"do_rescale": False},
        {},
    )
    for more in changes:
        found, factor = told(**more), more.get("rescale_factor", 1.0 if "do_rescale" in more else 1 / 255)
        asked = (pixels * factor - int("rescale_offset" in more) - 0.4) / 0.25
        torch.testing.assert_close((pixels / 255 - found["mean"][1]) / found["std"][1], asked)
    assert told(resample=3)["interpolation"] == "bicubic"
    file.write_text(json.dumps(hugging.PROCESSOR | {"size": {"shortest_edge": 48}, "crop_size": None}))
    assert models.meant_for("transformers:vit", tmp_path) == 48
    file.unlink()
    assert (
        "no preprocessor_config.json"
        in describe_weights(f"transformers:{tmp_path / 'vit'}", "transformers:vit")["source"]
    )
    assert models.meant_for("transformers:vit", tmp_path) is None


def test_weights_in_parts_and_those_that_lack_some(folders: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    whole = load_file(folders / "resnet" / "model.safetensors")
    shutil.copytree(folders / "resnet", tmp_path / "net")
    (tmp_path / "net" / "model.safetensors").unlink()
    parts: dict[str, dict[str, Tensor]] = {"a.safetensors": {}, "b.safetensors": {}}
    for number, (name, tensor) in enumerate(whole.items()):
        parts["ab"[number % 2] + ".safetensors"][name] = tensor
    for name, part in parts.items():
        save_file(part, tmp_path / "net" / name, metadata={"format": "pt"})
    places = {name: file for file, part in parts.items() for name in part}
    index = tmp_path / "net" / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": places}))
    network, ref = text(folders, "resnet"), f"transformers:{tmp_path / 'net'}"
    assert weights_fingerprint(ref, network) == weights_fingerprint(f"transformers:{folders / 'resnet'}", network)
    given = weights_state(ref, network)
    assert all(torch.equal(given[name], tensor) for name, tensor in hugging.values(folders / "resnet").items())
    (tmp_path / "net" / "b.safetensors").unlink()
    with pytest.raises(UserError, match=r"lacks b\.safetensors"):
        models.check_weights_ref(ref, network)
    index.unlink()
    lost = {name: tensor for name, tensor in whole.items() if "embedder.embedder" not in name}
    save_file(lost, tmp_path / "net" / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"the first layer would start as in a random network"):
        load_into(build_network(network, 3, seed=0), weights_state(ref, network), head=("classifier.1",), min_share=0.5)


def test_a_study_names_the_folder_once(folders: Path) -> None:
    raw = {"targets": "digits", "network": "transformers:swin", "pretrained": "transformers"}
    study = Study.parse(raw, folder=folders)
    assert study.pretrained and study.pretrained.weights == "transformers:swin" and study.image_size == 32
    assert study.preprocessing()["mean"] == [0.5, 0.4, 0.3]
    run = study.run("digits", "pretrained", 0).params
    assert run["weights"].ref == f"transformers:{folders / 'swin'}" and apart(run["network"])[0] == "transformers:swin"
    assert Study.parse({**raw, "image_size": 64}, folder=folders).image_size == 64
    more = {**raw, "pretrained": {"weights": "transformers", "min_share": 0.5}}
    assert Study.parse(more, folder=folders).pretrained.weights == "transformers:swin"  # type: ignore[union-attr]


def test_the_hub_is_never_asked(monkeypatch: pytest.MonkeyPatch, folders: Path, tmp_path: Path) -> None:
    from huggingface_hub import constants

    with pytest.raises(UserError, match=r"no folder .*not in the cache .*hf download lab/net"):
        models.settled("transformers:lab/net", tmp_path)
    kept = tmp_path / "models--lab--net"
    shutil.copytree(folders / "vit", kept / "snapshots" / "abc")
    (kept / "refs").mkdir()
    (kept / "refs" / "main").write_text("abc")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    from transferscope.models.networks import transformers as networks

    assert networks.home("lab/net", Path("/nowhere")) == kept / "snapshots" / "abc"
    assert models.settled("transformers:lab/net", Path("/nowhere")) == text(folders, "vit")
    assert describe_weights("transformers:lab/net", text(folders, "vit"))["source"] == "weights of lab/net"
    assert models.absolute_weights("transformers:lab/net", tmp_path) == "transformers:lab/net"


def test_what_cannot_be_used_is_one_sentence(folders: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "config.json").write_text("{")
    (tmp_path / "mute").mkdir()
    (tmp_path / "mute" / "config.json").write_text("{}")
    (tmp_path / "bare").mkdir()
    shutil.copy(folders / "vit" / "config.json", tmp_path / "bare")
    for network, words in {
        "transformers:./empty": "has no config.json",
        "transformers:./nowhere": "there is no folder",
        "transformers:odd": "cannot be read",
        "transformers:mute": "model_type",
        'transformers:vit?{"config":3}': "options.config must be a mapping",
    }.items():
        with pytest.raises(UserError, match=words) as refused:
            Study.parse({"targets": "digits", "network": network, "arms": ["random"]}, folder=tmp_path)
        assert "\n" not in str(refused.value) and str(refused.value).startswith("study: network: ")
    for network, words in {
        "transformers:vitt": "did you mean 'vit'",
        'transformers:vit?{"hiden_size":8}': "network.options.hiden_size.*did you mean 'hidden_size'",
        'transformers:vit?{"hidden_size":"a","patch_size":8}': "network.options.hidden_size: .* refuses 'a'",
        'transformers:vit?{"num_labels":8}': "network.options.num_labels: the study decides it",
    }.items():
        with pytest.raises(UserError, match=words) as refused:
            build_network(network, 3, seed=0)
        assert "\n" not in str(refused.value)
    network = models.settled("transformers:bare", tmp_path)
    for weights, words in {
        f"transformers:{tmp_path / 'bare'}": "has no model.safetensors",
        "transformers:vit": "names no folder with weights",
        "transformers:": "names no folder with weights",
    }.items():
        with pytest.raises(UserError, match=words):
            models.check_weights_ref(weights, network)
    with pytest.raises(UserError, match="transformers:FOLDER network, not timm:resnet18"):
        models.check_weights_ref("transformers:vit", "timm:resnet18")
