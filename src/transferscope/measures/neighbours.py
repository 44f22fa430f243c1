"""k-nearest-neighbour accuracy of a representation, leaving each sample out of its own vote."""

from collections.abc import Sequence

import torch
from torch import Tensor

from transferscope.devices import exact, exactly
from transferscope.measures.gram import as_rows, centred_gram

ROUNDING = 2.0**-14  # share of a squared norm that the distances from a float32 Gram are good to, with room


def squared_distances(chunks: Sequence[Tensor], k: int) -> Tensor:
    """Squared Euclidean distances (n, n) between the rows of consecutive `chunks` (n_i, ...) of one feature matrix.

    From the Gram of centred features where the distance of each row to its k-th neighbour is well above the rounding of
    its norm. Else (a sample far out, duplicates, clusters far apart) differences are taken in float64, which is slow
    and right whatever the scale.
    """
    gram = centred_gram(chunks)[0]
    norms = gram.diagonal()
    distance = norms[:, None] + norms[None] - 2 * gram
    near = distance.clone().fill_diagonal_(torch.inf).kthvalue(min(k, max(len(gram) - 1, 1)), 1).values
    if bool(torch.isfinite(distance).all()) and bool((near > ROUNDING * norms).all()):
        return distance
    rows = torch.cat([exact(as_rows(chunk)) for chunk in chunks])
    found: Tensor = torch.cdist(rows, rows, compute_mode="donot_use_mm_for_euclid_dist").square()
    return found


def knn_accuracy(distance: Tensor, labels: Tensor, k: int = 5) -> float:
    """Share of samples whose k nearest others vote for their class, in [0, 1].

    `distance` (n, n) is any that grows with the Euclidean one, `labels` (n,) class indices. A tied vote goes to the
    tied class with the nearest member. Raises ValueError unless 1 <= k < n.
    """
    n = len(distance)
    if not 1 <= k < n or labels.shape != (n,):
        raise ValueError(f"{k} neighbours of {n} samples with labels {tuple(labels.shape)} cannot vote.")
    distance = exactly(distance).clone().fill_diagonal_(torch.inf)
    near = distance.topk(k, largest=False, sorted=True).indices
    y = labels.to(distance.device).long()
    bonus = (1 - torch.arange(k, device=y.device, dtype=torch.float64) / k) / 2  # below one vote, falls with rank
    votes = torch.zeros(n, int(y.max()) + 1, dtype=torch.float64, device=y.device)
    nearest = torch.zeros_like(votes).scatter_reduce_(1, y[near], bonus.repeat(n, 1), "amax")
    votes.scatter_add_(1, y[near], torch.ones_like(bonus).repeat(n, 1))
    return float(((votes + nearest).argmax(1) == y).double().mean())
