"""A run on a GPU without float64, by a stand-in for Apple's that computes on the CPU: the same rows and predictions."""

from mps import standing_in
from safetensors.torch import load_file

from transferscope.tasks.optimisers import sgd


def test_a_run_is_that_of_a_cpu(fit, monkeypatch) -> None:
    """Without crops, which GPUs resize by products of matrices, and with the update that torch chooses for a GPU: each
    is a rounding apart on a CPU."""
    monkeypatch.setattr(sgd, "one_pass", lambda _: None)
    plain = {"epochs": 1, "augment": None}
    folder, rows = fit("cpu", **plain)
    with standing_in():
        there, found = fit("mps", **plain, work={"device": "mps:0"})
    assert found == rows
    for name in ("final", "predictions-final"):
        theirs, ours = load_file(there / f"{name}.safetensors"), load_file(folder / f"{name}.safetensors")
        assert theirs.keys() == ours.keys() and all((theirs[key] == ours[key]).all() for key in ours)
