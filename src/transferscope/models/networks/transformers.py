"""`transformers:FOLDER`: any classifier of images or texts of transformers, by folder, name in the cache, or kind.

A folder holds `config.json`, as `save_pretrained` writes it; a name (`google/vit-base-patch16-224`) is looked up in the
hub's cache, never on the hub; a kind (`transformers:vit`) is built with its defaults. Options are keys of the
configuration. What the file says goes into the network's text, so that a network is known by what it is, not by where
its file lies.

Of a kind that reads texts the option `pooling` ("mean" over real tokens, or "first") puts one linear layer on the
encoder in the place of the library's own head; a folder of sentence-transformers says it itself.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transferscope import extras
from transferscope.errors import UserError
from transferscope.registry import joined, nearest

if TYPE_CHECKING:
    from torch import Tensor, nn

EXAMPLE = joined("resnet", {"depths": [1, 1], "embedding_size": 8, "hidden_sizes": [8, 16], "layer_type": "basic"})
LIBRARY = "transformers"
OURS = ("id2label", "label2id", "num_labels", "problem_type")
FILE = "config.json"
# Of a configuration: what says nothing of the network, or belongs to a head that is replaced.
UNSAID = frozenset(
    (
        *OURS,
        "_commit_hash",
        "_name_or_path",
        "architectures",
        "auto_map",
        "dtype",
        "finetuning_task",
        "model_type",
        "torch_dtype",
        "transformers_version",
        "use_auth_token",
    )
)
KIND = "ForImageClassification"


def check(name: str) -> None:
    """UserError unless transformers is installed; nothing is looked up before the network is `settled`."""
    extras.need("transformers", "hf", f"network: transformers:{name}")


def settled(name: str, options: Mapping[str, Any], folder: Path) -> tuple[str, dict[str, Any]]:
    """The kind of network, and its configuration beside the `options`. UserError where there is no such network."""
    if "config" in options:
        if not isinstance(options["config"], Mapping):
            raise UserError("its options.config must be a mapping, as a config.json holds one.")
        return name, dict(options)
    where = home(name, folder)
    if where is None:
        return name, dict(options)
    said = described(where / FILE)
    kind = said.get("model_type")
    if not isinstance(kind, str):
        raise UserError(f"{where / FILE} does not say its model_type; save the network by save_pretrained.")
    config = {key: value for key, value in said.items() if key not in UNSAID}
    if heads := [one for one in said.get("architectures") or () if str(one).partition(KIND)[2]]:
        config["architectures"] = heads  # ...WithTeacher, which the library does not take without being told
    return kind, {**({"config": config} if config else {}), **_pooling(where), **options}


def _pooling(where: Path) -> dict[str, str]:
    """How the states of an encoder of texts become one, as sentence-transformers writes it beside a network."""
    file = where / "1_Pooling" / FILE
    said = described(file) if file.is_file() else {}
    ways = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "first"}
    return next(({"pooling": way} for key, way in ways.items() if said.get(key) is True), {})


def size(name: str, folder: Path) -> int | None:
    """The side of the images that the folder's processor makes, where it says one."""
    where = home(name, folder)
    found = preprocessing(where).get("crop_size") or preprocessing(where).get("size") if where else None
    if isinstance(found, Mapping):
        found = found.get("height") or found.get("shortest_edge")
    return found if isinstance(found, int) and found >= 8 else None


def preprocessing(where: Path) -> dict[str, Any]:
    """What the folder's `preprocessor_config.json` says; {} where there is none."""
    file = where / "preprocessor_config.json"
    return described(file) if file.is_file() else {}


def home(name: str, folder: Path) -> Path | None:
    """The folder of a network: `name` beside `folder`, else what the hub's cache holds by that name; None for a kind.

    Never asks the hub. UserError for a path or a name of the hub that is not there.
    """
    path = folder / Path(name).expanduser()
    if (path / FILE).is_file():
        return path.absolute()
    if path.is_dir() and ("/" in name or name.startswith(".")):
        raise UserError(f"{path} has no {FILE}; save the network in it by save_pretrained.")
    cached = _cached(name)
    if cached is None and ("/" in name or name.startswith((".", "~"))):
        from huggingface_hub import constants

        raise UserError(
            f"there is no folder {path} with a {FILE}, and '{name}' is not in the cache "
            f"{constants.HF_HUB_CACHE}; correct the path, or run 'hf download {name}' on a machine with a network."
        )
    return cached


def described(file: Path) -> dict[str, Any]:
    """A file of JSON. UserError where it holds anything else."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{file} cannot be read ({error}); save the network anew by save_pretrained.") from None
    if not isinstance(found, dict):
        raise UserError(f"{file} holds no configuration; save the network anew by save_pretrained.")
    return found


def build(
    name: str, classes: int, config: Mapping[str, Any] | None = None, pooling: str | None = None, **options: Any
) -> "nn.Module":
    """The classifier of kind `name` with fresh weights and a head of `classes` outputs, in float32.

    `config` is what a file says, and may hold keys that the library no longer knows; `options` may not.
    """
    from transformers import AutoConfig
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    from transferscope.models import texts

    auto = classifier(name)
    if pooling is not None and not reads_texts(name):
        raise UserError(f"network.options.pooling: '{name}' reads images, and pools them itself; remove the key.")
    usual = CONFIG_MAPPING[name]().to_dict()
    for key in options:
        if key not in usual:
            tail = nearest(key, sorted(usual), "remove it.")
            raise UserError(f"network.options.{key}: the configuration of '{name}' has no such key; {tail}")
    try:
        made = AutoConfig.for_model(name, **{**(config or {}), **options, "num_labels": classes})
    except Exception as error:  # its validation says in several lines which value is of which type
        raise ValueError(" ".join(str(error).split())) from error
    made.architectures = made.architectures or []  # of several classes of a kind the library takes the first then
    if not reads_texts(name):
        net: nn.Module = auto.from_config(made)
        return net.float()
    return texts.classifier(auto, made, pooling, classes).float()


def reads_texts(kind: str) -> bool:
    """Whether networks of a kind read texts; of those that can read both it is images."""
    images, known = _kinds()
    return kind in known and kind not in images


def classifier(kind: str) -> Any:
    """The library's class of classifiers of a kind. UserError where there is none."""
    import transformers

    images, known = _kinds()
    if kind not in images and kind not in known:
        tail = nearest(kind, sorted({*images, *known}), "give a folder with a config.json.")
        raise UserError(
            f"network: transformers has no classifier of images or texts '{kind}', nor is it a folder or cached; {tail}"
        )
    if kind in images:
        return transformers.AutoModelForImageClassification
    return transformers.AutoModelForSequenceClassification


def _kinds() -> "tuple[Mapping[str, Any], Mapping[str, Any]]":
    """The kinds of networks that the library classifies images with, and texts."""
    from transformers.models.auto import modeling_auto as auto

    return auto.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES, auto.MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES


def filled(kind: Any, where: Path | None, **how: Any) -> "dict[str, Tensor]":
    """The state of `kind.from_pretrained(where, **how)`, by the library's own conversion from older names.

    What it would draw at random, for want of a tensor of that name and shape, is left out. Global random state is left
    as found, and nothing is printed.
    """
    from transformers import utils

    from transferscope.models.build import seeded

    logging: Any = utils.logging
    shown, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with seeded(0):
            net, told = kind.from_pretrained(where, ignore_mismatched_sizes=True, output_loading_info=True, **how)
    finally:
        logging.set_verbosity(shown)
        if bar:
            logging.enable_progress_bar()
    lost = [*told["missing_keys"], *told["mismatched_keys"]]
    absent = {name if isinstance(name, str) else name[0] for name in lost}
    return {name: tensor.detach() for name, tensor in net.state_dict().items() if name not in absent}


def saved_names(net: "nn.Module", names: Iterable[str]) -> dict[str, str]:
    """Under which names `save_pretrained` writes tensors of a network: the name in a file to the network's own.

    {} for a network of another library, and of releases that save all under its own names.
    """
    if not type(net).__module__.startswith("transformers."):
        return {}
    try:
        from transformers import core_model_loading
    except ImportError:
        return {}
    library: Any = core_model_loading
    state = net.state_dict()
    own = {id(tensor): name for name in names if (tensor := state.get(name)) is not None}
    try:
        saved = library.revert_weight_conversion(net, {name: state[name] for name in own.values()})
    except Exception:  # a conversion that is not made for a part of a network
        return {}
    return {name: own[id(tensor)] for name, tensor in saved.items() if id(tensor) in own}


def _cached(name: str) -> Path | None:
    """Where the hub's cache keeps a network of that name."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = try_to_load_from_cache(name, FILE)
    except HFValidationError:
        return None
    return Path(found).parent if isinstance(found, str) else None
