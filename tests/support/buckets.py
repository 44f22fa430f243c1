"""A server that speaks S3, in this process, and buckets in it; processes of their own are told by `environment`."""

import logging
import os
import urllib.error
import urllib.request
from functools import cache

KEYS = {"AWS_ACCESS_KEY_ID": "tests", "AWS_SECRET_ACCESS_KEY": "tests", "AWS_DEFAULT_REGION": "us-east-1"}


@cache
def endpoint() -> str:
    """The address of the one server of this process, which ends with it."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    return f"http://{host}:{port}"


def environment() -> dict[str, str]:
    """What a process needs to find the server and to be let in."""
    return {**KEYS, "AWS_ENDPOINT_URL": endpoint()}


def bucket(name: str) -> str:
    """The address of a bucket, which is made if it is not there; this process finds it from now on."""
    os.environ.update(environment())
    request = urllib.request.Request(f"{endpoint()}/{name}", method="PUT")
    with urllib.request.urlopen(request):
        return f"s3://{name}"
