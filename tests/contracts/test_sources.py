"""What every file of `data/sources/`, `models/networks/` and `models/pretrained/` promises (see `contract`)."""

import importlib
from pathlib import Path

import pytest
from contract import networks, sources, weights
from contract.opening import check_light

from transferscope import data
from transferscope.models.networks import network_schemes
from transferscope.models.pretrained import weights_schemes


@pytest.mark.parametrize("name", data.source_names())
def test_data_source(name: str, tmp_path: Path) -> None:
    sources.check_source(importlib.import_module(f"{sources.PACKAGE}.{name}"), tmp_path)


@pytest.mark.parametrize("name", network_schemes())
def test_family_of_networks(name: str) -> None:
    networks.check_family(importlib.import_module(f"{networks.PACKAGE}.{name}"))


@pytest.mark.parametrize("name", weights_schemes())
def test_source_of_weights(name: str, tmp_path: Path) -> None:
    weights.check_weights(importlib.import_module(f"{weights.PACKAGE}.{name}"), tmp_path)


@pytest.mark.parametrize("package", [sources.PACKAGE, networks.PACKAGE, weights.PACKAGE])
def test_the_registries_load_no_heavy_library(package: str) -> None:
    check_light(importlib.import_module(package))
