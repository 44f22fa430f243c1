"""What every file of `data/sources/` and of `models/` promises: a sentence, the functions, errors in one sentence."""

import ast
import importlib
import inspect
import pickle
from pathlib import Path

import pytest

from transferscope import data, models
from transferscope.data.listing import check_listing
from transferscope.errors import UserError
from transferscope.models.networks import network_schemes
from transferscope.models.pretrained import weights_schemes

SOURCES = tuple(data.source_names())
NETWORKS, WEIGHTS = network_schemes(), weights_schemes()
# What a source can be asked for on a machine with all extras and no images of the user's own.
SHIPPED = {"openmoji": "openmoji:color", "elpv": "elpv:binary", "digits": "digits", "fractals": "fractals:5"}


def arguments(function: object) -> list[str]:
    return list(inspect.signature(function).parameters)  # type: ignore[arg-type]


def source(name: str):
    return importlib.import_module(f"transferscope.data.sources.{name}")


@pytest.mark.parametrize("name", SOURCES)
def test_data_sources_explain_themselves(name: str) -> None:
    module = source(name)
    line = data.source_names()[name]
    assert line.startswith(name) and len(line.split()) > 4
    options = arguments(module.listing)[1:]  # of a target, such as `columns`: all three functions take the same
    assert arguments(module.listing) == ["rest", *options] == arguments(module.check)
    assert arguments(module.fingerprint) == ["rest", "memo", *options] and set(options) <= set(data.Target.model_fields)
    for function in (module.listing, module.fingerprint, module.check):
        assert inspect.getdoc(function)


@pytest.mark.parametrize("name", SOURCES)
def test_data_sources_refuse_nonsense_in_one_sentence(name: str) -> None:
    with pytest.raises(UserError) as caught:
        data.check_ref(f"{name}:/no such thing")
    assert "\n" not in str(caught.value) and str(caught.value).endswith((".", "?"))


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_data_is_listed_the_same_way_twice_and_loads_anywhere(name: str) -> None:
    ref = SHIPPED[name]
    try:
        data.check_ref(ref)
    except UserError as error:
        pytest.skip(str(error))
    listing = data.open_listing(ref)
    check_listing(listing, ref)
    again = data.open_listing(ref)
    assert listing.names == again.names and (listing.labels == again.labels).all()
    load = pickle.loads(pickle.dumps(listing.load))  # it is sent to spawned processes
    assert min(load(len(listing.names) // 2).size) >= 8
    assert listing.licence, "data that comes along says under which terms"
    assert data.source_fingerprint(ref) == data.source_fingerprint(ref)


def test_every_shipped_data_set_is_in_this_test() -> None:
    assert set(SOURCES) - set(SHIPPED) == {"folder", "csv", "torchvision"}


@pytest.mark.parametrize("name", NETWORKS)
def test_network_sources(name: str) -> None:
    module = importlib.import_module(f"transferscope.models.networks.{name}")
    assert name in models.network_names()[name] and len(models.network_names()[name].split()) > 4
    assert arguments(module.check) == ["name"] and arguments(module.build) == ["name", "classes"]
    with pytest.raises(UserError):
        models.check_network_ref(f"{name}:")
    with pytest.raises(UserError, match="no_such_network"):
        module.build("no_such_network", 3)


@pytest.mark.parametrize("name", WEIGHTS)
def test_weight_sources(name: str) -> None:
    module = importlib.import_module(f"transferscope.models.pretrained.{name}")
    assert name in models.weights_names()[name] and len(models.weights_names()[name].split()) > 4
    for function in (module.check, module.fingerprint, module.describe, module.state):
        assert arguments(function) == ["rest", "network"] and inspect.getdoc(function)
    with pytest.raises(UserError):
        models.check_weights_ref(f"{name}:no such weights", "torchvision:resnet18")


ROOMS = sorted(Path(analyses_file).parent for analyses_file in (data.__file__, models.__file__))
FILES = [
    file
    for room in (*(r / "sources" for r in ROOMS), *(r / "networks" for r in ROOMS), *(r / "pretrained" for r in ROOMS))
    for file in sorted(room.glob("*.py"))
]


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_listing_a_source_loads_no_heavy_library(file: Path) -> None:
    """Heavy imports stand inside functions: the file itself must load in no time."""
    heavy = {"torch", "timm", "torchvision", "sklearn", "safetensors"}
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        assert not heavy & {name.partition(".")[0] for name in names}, ast.unparse(node)
