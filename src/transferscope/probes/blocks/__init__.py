"""One block at a time: rewinding, criticality and layer-wise barriers."""
