"""Servers that speak as Google's and Azure's object stores do, asked by the libraries of each, and buckets in them.

Google's is `gcp-storage-emulator` in this process. It does not know conditional writes, which are added here as
Google's documentation has them: with ``ifGenerationMatch=0`` an object is written where there is none, else 412.
Azure's is Microsoft's Azurite, which npm installs; `AZURITE` in the environment says where its ``azurite-blob`` is.
"""

import atexit
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest

AZURITE = "TRANSFERSCOPE_AZURITE"
# The account that every Azurite has; its key is in Microsoft's documentation.
ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


def google(name: str) -> str:
    """The address of a bucket of Google's, made if it is not there; skips where the server is not installed."""
    pytest.importorskip("gcsfs")
    os.environ["GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT"] = "false"  # which asks Google itself of every bucket
    os.environ["STORAGE_EMULATOR_HOST"] = address = _google()
    import requests

    requests.post(f"{address}/storage/v1/b", json={"name": name}, timeout=10)
    return f"gs://{name}"


@cache
def _google() -> str:
    server = pytest.importorskip("gcp_storage_emulator.server")
    for _, handlers in server.HANDLERS:
        for method, handler in handlers.items():
            if handler is server.objects.insert:
                handlers[method] = _conditional(handler)
    port = _free_port()
    server.create_server("127.0.0.1", port, in_memory=True).start()
    return f"http://127.0.0.1:{port}"


def _conditional(insert: Callable[..., Any]) -> Callable[..., Any]:
    from gcp_storage_emulator.exceptions import NotFound

    def guarded(request: Any, response: Any, storage: Any, *args: Any, **kwargs: Any) -> Any:
        if request.query.get("ifGenerationMatch") == ["0"]:
            name = (request.query.get("name") or [request.data["meta"].get("name")])[0]
            try:
                storage.get_file_obj(request.params["bucket_name"], name)
            except NotFound:
                pass
            else:
                response.status = HTTPStatus.PRECONDITION_FAILED
                return None
        return insert(request, response, storage, *args, **kwargs)

    return guarded


def azure(name: str) -> str:
    """The address of a container of Azure's, made if it is not there; skips where there is no Azurite."""
    pytest.importorskip("adlfs")
    if not shutil.which(os.environ.get(AZURITE, "")):
        pytest.skip(f"{AZURITE} names no azurite-blob")
    os.environ["AZURE_STORAGE_CONNECTION_STRING"] = told = _azure()
    from azure.core.exceptions import ResourceExistsError
    from azure.storage.blob import BlobServiceClient

    with BlobServiceClient.from_connection_string(told) as client, suppress(ResourceExistsError):
        client.create_container(name)
    return f"az://{name}"


@cache
def _azure() -> str:
    port, folder = _free_port(), tempfile.mkdtemp()
    command = [os.environ[AZURITE], "--silent", "--skipApiVersionCheck", "--disableTelemetry", "--location", folder]
    server = subprocess.Popen(
        [*command, "--blobHost", "127.0.0.1", "--blobPort", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    atexit.register(lambda: (server.kill(), server.wait(), shutil.rmtree(Path(folder), ignore_errors=True)))
    for _ in range(300):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.1)
    place = f"BlobEndpoint=http://127.0.0.1:{port}/{ACCOUNT};"
    return f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={KEY};{place}"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
