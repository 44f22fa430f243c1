"""Where the tokenizer of a network lies: in its folder, in the hub's cache, or in the package that ships it."""

from pathlib import Path

from transferscope import registry
from transferscope.errors import UserError, did_you_mean
from transferscope.models.encoders import ENCODERS
from transferscope.models.networks import parted
from transferscope.models.networks import transformers as networks

FILE = "tokenizer.json"


def own_tokenizer(network: str, weights: str | None, folder: Path) -> str | None:
    """The tokenizer that comes with the weights, else that of the network (as a study file in `folder` says them):
    `package:NAME`, or the path of its file; None where neither brings one."""
    for ref in (weights, network):
        scheme, name, _ = parted(ref) if ref and ":" in ref else ("", "", {})
        if scheme == "package" and name in ENCODERS:
            return f"package:{name}"
        if scheme == "transformers":
            where = networks.home(name, folder)
            if where is not None and (where / FILE).is_file():
                return str(where / FILE)
    return None


def tokenizer_file(ref: str, folder: Path = Path()) -> Path:
    """The file of a tokenizer: `package:NAME`, a tokenizer.json, a folder that holds one, or a name in the hub's cache.

    UserError where there is none.
    """
    scheme, name = registry.split(ref)
    if scheme == "package":
        if name not in ENCODERS:
            raise UserError(f"input.text.tokenizer: '{ref}' is not known; {did_you_mean(name, tuple(ENCODERS))}")
        return ENCODERS[name].home() / FILE
    path = folder / Path(ref).expanduser()
    if path.is_file():
        return path.absolute()
    try:
        where = path if path.is_dir() else networks.home(ref, folder)
    except UserError as error:
        raise UserError(f"input.text.tokenizer: {error}") from None
    if where is None or not (where / FILE).is_file():
        raise UserError(
            f"input.text.tokenizer: '{ref}' holds no {FILE}; give the folder of one, as "
            "AutoTokenizer.from_pretrained(...).save_pretrained(FOLDER) writes it."
        )
    return (where / FILE).absolute()
