"""Weights: distances, spectra and sums of state dicts, and the permutations that leave a network the same."""
