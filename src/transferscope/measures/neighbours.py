"""k-nearest-neighbour accuracy of a representation, leaving each sample out of its own vote."""

import torch
from torch import Tensor


def knn_accuracy(gram: Tensor, labels: Tensor, k: int = 5) -> float:
    """Share of samples whose k nearest others (Euclidean) vote for their class, in [0, 1].

    `gram` (n, n) is the linear Gram of the features (`gram.centred_gram`), `labels` (n,) class indices. A tied vote
    goes to the tied class with the nearest member. Raises ValueError unless 1 <= k < n.
    """
    n = len(gram)
    if not 1 <= k < n or labels.shape != (n,):
        raise ValueError(f"{k} neighbours of {n} samples with labels {tuple(labels.shape)} cannot vote.")
    norms = gram.diagonal()
    distance = norms[None] - 2 * gram  # the row's own norm changes no order
    distance = distance.clone().fill_diagonal_(torch.inf)
    near = distance.topk(k, largest=False, sorted=True).indices
    y = labels.to(gram.device).long()
    bonus = (1 - torch.arange(k, device=gram.device, dtype=torch.float64) / k) / 2  # below one vote, falls with rank
    votes = torch.zeros(n, int(y.max()) + 1, dtype=torch.float64, device=gram.device)
    nearest = torch.zeros_like(votes).scatter_reduce_(1, y[near], bonus.repeat(n, 1), "amax")
    votes.scatter_add_(1, y[near], torch.ones_like(bonus).repeat(n, 1))
    return float(((votes + nearest).argmax(1) == y).double().mean())
