"""Passes: the work of every kind of step in one unit, a forward pass of one image, so that one kind foretells another.

A task's `cost` takes its parameters and the number of images by split, and says about how many passes its step does.
The factors were fitted to a whole study on a processor, in bfloat16 and in float32 (EfficientNet-Lite0 at 40 px); a
factor of two is near enough.
"""

from collections.abc import Callable, Mapping
from typing import Any

Images = Mapping[str, int]
EVAL_BATCH = 256  # images that training evaluates at once
USUAL: Images = {"train": 1300, "val": 200, "test": 400}  # where nobody has counted
TRAINED = 4.5  # passes to train on one image: forward, twice that back, statistics and weights besides
PROBED = 1.3  # where nothing but the head is trained
REFRESHED = 1.5  # to re-estimate statistics from one image
BLOCKS = 18  # of a network of which only the name is known
SMALL, READING, FACTORED = 40, 180, 720  # a step that reads results; that reads weights; that decomposes them


def counted(images: Images, split: str, most: float = float("inf")) -> float:
    """Images of a split, at most `most`."""
    return min(images.get(split, 0), most)


def epochs(params: Mapping[str, Any], images: Images) -> tuple[float, float]:
    """Images that a training run trains on, and those that it only evaluates, over all of its epochs."""
    trained, done = images["train"] * params["fraction"], params["epochs"] - params["first_epoch"]
    most = float("inf") if params["evaluate"] == "all" else float(params["evaluate"])
    watched = min(trained, most) + counted(images, "val", most) + counted(images, "test", most)
    states = 2 if params.get("ema") is None else 3  # the last, the best and the averaged weights
    whole = states * (images["val"] + images["test"])
    return done * trained, (done + 1) * watched + whole


def training(params: Mapping[str, Any], images: Images = USUAL) -> float:
    """Of `train`. Below a head that is trained alone an image is passed forward, and where it comes again only once,
    also for its evaluations."""
    if params["trainable"] != "head":
        trained, evaluated = epochs(params, images)
        return TRAINED * trained + evaluated
    looks = 1 if params["augment"] is None else params["views"]
    done = params["epochs"] - params["first_epoch"]
    trained, evaluated = epochs(params, images)
    if looks is None or params["mixup"] or done <= looks:
        return PROBED * trained + evaluated
    once: float = PROBED * looks * trained / done
    return once + images["val"] + images["test"]


def decoding(params: Mapping[str, Any], images: Images = USUAL) -> float:
    """Of `ingest`, whose seconds do not hang on the network."""
    return 3.0 * sum(images.values())


def line(params: Mapping[str, Any], images: Images = USUAL) -> float:
    """Of `line`: every point evaluated on every split, with statistics of its own; the ends also with theirs."""
    most, points = params["images"], 2 + (9 if isinstance(params["alphas"], str) else params["alphas"])
    return float(points * (sum(counted(images, s, most[s]) for s in params["splits"]) + _statistics(params, images)))


def rewinding(params: Mapping[str, Any], images: Images = USUAL) -> float:
    """Of `rewind`: half a network for every block put back, alone and with those below it, more where more is asked."""
    kinds = 1 + {"none": 0, "bottom": 1, "both": 2}[params["cumulative"]] + 4 * params["checkpoints"] + params["redraw"]
    each = sum(counted(images, split, params["images"]) for split in params["splits"])
    if params["batch_norm"] == "refresh":
        each = 2 * each + 2 * REFRESHED * counted(images, "train", params.get("statistics", 250))
    return float(0.75 * kinds * BLOCKS * each / 2)


def criticality(params: Mapping[str, Any], images: Images = USUAL) -> float:
    """Of `criticality`: of a block's cells those along the border, or the whole grid; half a network a cell."""
    cells = params["alphas"] * params["sigmas"] if params["grid"] else 2 * (params["alphas"] + params["sigmas"])
    levels = params.get("valley_sigmas") or params["sigmas"]
    drawn = (params.get("valley_alphas") or params["alphas"]) * (levels if isinstance(levels, int) else len(levels))
    valley = drawn * min(params["draws"], 2) * len(params["valleys"])
    scores = BLOCKS * cells * params["draws"] / 3 * counted(images, "train", params["images"])
    dear = 1.75 if params["batch_norm"] == "refresh" else 1
    return float(dear * (scores + valley * counted(images, "train", params["valley_images"])) / 2)


def features(params: Mapping[str, Any], images: Images = USUAL) -> float:
    """Of `features`: two passes, and products of all pairs of images at every layer."""
    return (3.5 if params["neighbours"] else 2.0) * counted(images, "test", params["images"])


def mixtures(params: Mapping[str, Any], images: Images = USUAL) -> float:
    """Of `wise`, `crossdomain` and `soup`: every mixture evaluated on two sets, with statistics of its own."""
    several = len(params["alphas"]) if "alphas" in params else 2.3 * len(params["runs"])
    return float(several * (2 * counted(images, "test", params["images"]) + _statistics(params, images)))


def basin(params: Mapping[str, Any], images: Images = USUAL) -> float:
    """Of `basin`: points of a segment and noisy networks around them."""
    networks = params["samples"] * (1 + params["draws"] * len(params["per_weight"]))
    return float(networks * (counted(images, "test", params["images"]) + _statistics(params, images)))


def scores(params: Mapping[str, Any], images: Images = USUAL) -> float:
    """Of `choose`: features of the training and val images, and what is fitted to them."""
    return 3.0 * (counted(images, "train", params["images"]) + images["val"])


def fixed(passes: float) -> Callable[[Mapping[str, Any]], float]:
    """Of a task that sees few images or none."""
    return lambda params: passes


def _statistics(params: Mapping[str, Any], images: Images) -> float:
    return REFRESHED * counted(images, "train", params["statistics"])
