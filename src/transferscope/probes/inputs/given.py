"""One batch as a loader gives it: a tensor, a tuple (x, labels, ids) or a dict, checked and brought into one form."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset, RandomSampler, SubsetRandomSampler, WeightedRandomSampler

from transferscope.errors import UserError, a_kind
from transferscope.models.floats import wide

INPUTS = ("pixel_values", "images", "image", "img", "inputs", "input", "x", "data", "input_ids")
LABELS = ("labels", "label", "targets", "target", "y", "class", "classes")
IDS = ("ids", "id", "index", "idx", "image_id", "paths", "path", "filename")
LARGEST = float(torch.finfo(torch.float32).max)
FAR = 1e4  # times what other samples reach: from there on float32 loses the others
SIZE = 64  # samples of a batch that is cut from what came in one piece
RANDOM = (RandomSampler, SubsetRandomSampler, WeightedRandomSampler)
STACK = "give batches, as a DataLoader stacks them"


class Batch(NamedTuple):
    """Inputs (n, ...), and labels (n,) or (n, k) and ids (n,) where the batch brought them.

    `multilabel` says what labels (n, k) of 0 and 1 are: several labels a sample (True) or one-hot classes (False);
    with None the values of all batches decide (`labels.read_labels`). `metric` is what judges their target
    (`answers.METRICS`): labels of one of numbers are numbers (n, k); None for classes and labels as usual. `scale`
    (k,) is what numbers were divided by: errors are told in their units.
    """

    x: Tensor
    labels: Any = None
    ids: Any = None
    multilabel: bool | None = None
    metric: str | None = None
    scale: tuple[float, ...] | None = None


def walkable(batches: Any, what: str = "batches") -> Iterable[Any]:
    """`batches` themselves; one batch, or a data set of single samples, in batches of 64 in its own order.

    Raises UserError where they are nothing of the kind.
    """
    if isinstance(batches, Tensor) or _is_one(batches):
        return _cut(batches)
    if isinstance(batches, np.ndarray):
        raise UserError(f"{what}: this is an array; give a tensor, torch.from_numpy(x).")
    if isinstance(batches, Dataset) and not isinstance(batches, IterableDataset):
        return Batched(batches, what)
    if hasattr(batches, "column_names") and hasattr(batches, "__getitem__"):  # a data set of Hugging Face
        return Batched(batches, what)
    if isinstance(batches, Mapping):
        keys = ", ".join(repr(str(key)) for key in list(batches)[:5])
        raise UserError(f"{what}: this is a {type(batches).__name__} with {keys}; give a list of batches.")
    if isinstance(batches, str) or not isinstance(batches, Iterable):
        raise UserError(f"{what}: give a list of batches or a loader, not {a_kind(batches)}.")
    found: Iterable[Any] = batches
    return found


@dataclass(frozen=True)
class Batched:
    """The samples of a data set in batches of 64, in its own order, stacked as a DataLoader stacks them."""

    dataset: Any
    what: str

    def __iter__(self) -> Iterator[Any]:
        from torch.utils.data import default_collate

        kind = type(self.dataset).__name__
        for start in range(0, len(self.dataset), SIZE):
            items = [self.dataset[row] for row in range(start, min(start + SIZE, len(self.dataset)))]
            try:
                yield default_collate(items)
            except (TypeError, RuntimeError, KeyError) as error:
                why = str(error).partition("\n")[0].rstrip(".")
                raise UserError(
                    f"{self.what}: samples {start} to {start + len(items) - 1} of the {kind} cannot be stacked ({why}):"
                    " give it a transform that makes tensors of one size, or put it in a DataLoader that collates them."
                ) from None


def _cut(batch: Any) -> list[Any]:
    """One batch in pieces of 64 samples; what does not belong to its samples is left for `batch_of` to refuse."""
    parts = [batch] if isinstance(batch, Tensor) else list(batch)
    count = len(parts[0])
    if count <= SIZE or any(hasattr(part, "__len__") and len(part) != count for part in parts):
        return [batch]

    def piece(start: int) -> Any:
        own: list[Any] = [part[start : start + SIZE] if hasattr(part, "__len__") else part for part in parts]
        if isinstance(batch, Tensor):
            return own[0]
        return Batch(*own) if isinstance(batch, Batch) else tuple(own)

    return [piece(start) for start in range(0, count, SIZE)]


def used_up(batches: Any, what: str = "batches") -> UserError:
    """What is said where no batch came."""
    if hasattr(batches, "__next__"):
        return UserError(
            f"{what}: there were none: {a_kind(batches)} can be walked once, and an earlier walk has used this one up, "
            "if it held any; give a list or a DataLoader."
        )
    return UserError(f"{what}: there were none.")


def shuffles(batches: Any) -> str:
    """How a loader that gives another order in every pass can be known, for a sentence; "" where it cannot."""
    sampler = getattr(batches, "sampler", None)
    kind = type(sampler).__name__
    return f"its sampler is a {kind}: shuffle=False keeps one order" if isinstance(sampler, RANDOM) else ""


def _is_one(batches: Any) -> bool:
    """Whether a list or tuple is a batch (x, labels) itself, not a list of batches."""
    if isinstance(batches, Batch):
        return True
    if not isinstance(batches, list | tuple) or len(batches) < 2 or not isinstance(batches[0], Tensor):
        return False
    x, second = batches[:2]
    sized = isinstance(second, Tensor | np.ndarray) and second.ndim > 0
    return sized and second.ndim < x.ndim and len(second) == len(x)


def batch_of(given: Any, where: str) -> Batch:
    """A tensor; a tuple or list (x, labels, ids, ...) of which all after x may be absent; or a dict, whose inputs,
    labels and ids are known by their keys. `where` ("batches: batch 1") begins every message.

    Narrow floats (half, bfloat16) become float32. Raises UserError for anything else, for no samples, for images in
    integers and values that are not finite, and where labels or ids do not match the samples.
    """
    several = metric = scale = None
    if isinstance(given, Batch):
        x, labels, ids, several, metric, scale = given
    elif isinstance(given, Mapping):
        x, labels, ids = _keyed(given, where)
    elif isinstance(given, tuple | list) and len(given):
        x, labels, ids = [*given, None, None][:3]
        x = _keyed(x, where)[0] if isinstance(x, Mapping) else x
    else:
        x, labels, ids = given, None, None
    if (isinstance(x, tuple | list) and x) or (
        isinstance(labels, Tensor) and isinstance(x, Tensor) and _twin(x, labels)
    ):
        count = len(x) if isinstance(x, tuple | list) else len(given)
        raise UserError(
            f"{where} holds {count} tensors where one is expected (several views, or images that are not "
            "stacked?); give (x, labels) with one tensor x of shape (samples, ...)."
        )
    x = _inputs(x, where)
    labels, ids = column(labels), column(ids)
    for word, values in (("labels", labels), ("ids", ids)):
        if values is not None and (not values.ndim or len(values) != len(x)):
            have = f"{len(values)} {word}" if values.ndim else f"one of the {word}, as a single image has; {STACK}"
            raise UserError(f"{where} has {len(x)} samples but {have}.")
    return Batch(x, labels, ids, several, metric, scale)


def single(given: Any, where: str) -> Batch:
    """`batch_of` an item (x, label) of a data set, as a batch of one sample."""
    parts = _keyed(given, where)[:2] if isinstance(given, Mapping) else given
    if not isinstance(parts, tuple | list) or len(parts) < 2 or not isinstance(parts[0], Tensor) or parts[1] is None:
        raise UserError(f"{where} is no tuple of a tensor and its label, but {a_kind(given)}.")
    label = column(parts[1])
    return batch_of((parts[0][None], None if label is None else label[None]), where)


def _keyed(given: Mapping[Any, Any], where: str) -> tuple[Any, Any, Any]:
    """Inputs, labels and ids of a dict."""
    names = {str(key).lower(): value for key, value in given.items()}
    labels, ids = (next((names[word] for word in words if word in names), None) for words in (LABELS, IDS))
    known = [names[word] for word in INPUTS if isinstance(names.get(word), Tensor)]
    images = [v for v in names.values() if isinstance(v, Tensor) and v.ndim >= 3 and v.is_floating_point()]
    if len(found := known or images) != 1:
        keys = ", ".join(repr(str(key)) for key in list(given)[:8])
        raise UserError(f"{where} is a dict in which no one key is the input (it has {keys}); give tuples (x, labels).")
    x: Tensor = found[0]
    return x, labels, ids


def _twin(x: Any, other: Any) -> bool:
    """Whether what stands in the place of labels is a second tensor of images."""
    both = isinstance(x, Tensor) and isinstance(other, Tensor)
    return bool(both and other.shape == x.shape and x.ndim > 2 and other.is_floating_point())


def _inputs(x: Any, where: str) -> Tensor:
    if not isinstance(x, Tensor):
        raise UserError(f"{where} must be a tensor, or a tuple (x, labels) or dict that holds one, not {a_kind(x)}.")
    if x.ndim < 2 or not x.numel():
        raise UserError(
            f"{where} must be a tensor (samples, ...) with at least one sample, not of shape {tuple(x.shape)}."
        )
    if x.is_complex() or x.is_quantized or x.layout != torch.strided or x.is_meta:
        kind = "complex" if x.is_complex() else "quantised, sparse, nested or missing"
        raise UserError(f"{where} holds {kind} numbers; give plain real ones.")
    if not x.is_floating_point():
        if x.ndim > 2 or x.dtype in (torch.uint8, torch.bool):
            kind = str(x.dtype).removeprefix("torch.")
            raise UserError(
                f"{where} holds {kind} values of shape {tuple(x.shape)}; divide images by 255 and "
                "normalise them as in training."
            )
        return x  # tokens
    found: Tensor = wide(x.detach())
    low, high = (float(end) for end in found.aminmax())
    if not (-LARGEST <= low <= high <= LARGEST):
        odd = (~(found.flatten(1).abs() <= LARGEST)).any(1).nonzero().flatten().tolist()
        more = f" and {len(odd) - 1} more" if len(odd) > 1 else ""
        raise UserError(f"{where}: sample {odd[0]} (from 0){more} holds values that are NaN or infinite; leave it out.")
    if max(-low, high) > FAR:
        reach = found.flatten(1).abs().amax(1)
        usual = float(reach[reach > 0].median())
        if float(reach.max()) > FAR * usual:
            where, most = f"{where}: sample {int(reach.argmax())} (from 0)", float(reach.max())
            raise UserError(
                f"{where} reaches {most:.1e} where others reach {usual:.1e}, so far "
                "out that it would decide every number; leave it out."
            )
    return found


def column(part: Any) -> np.ndarray | None:
    """Labels or ids as an array; None for what is none (boxes, texts of a caption, nothing)."""
    if isinstance(part, Tensor):
        return np.asarray(wide(part.detach()).cpu().numpy())
    if isinstance(part, int | float | str | np.generic):
        return np.asarray(part)
    if isinstance(part, list | tuple) and part and all(isinstance(v, Tensor) and not v.ndim for v in part):
        part = [v.item() for v in part]
    if isinstance(part, list | tuple) and part and isinstance(part[0], str | int | float | np.generic | list | tuple):
        try:
            return np.asarray(part)
        except ValueError:  # rows of different lengths
            return np.array([str(row) for row in part])
    return np.asarray(part) if hasattr(part, "__array__") else None  # arrays and the columns of data frames
