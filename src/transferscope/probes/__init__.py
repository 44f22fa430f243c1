"""Probes: measurements on networks and batches of images, for steps and notebooks alike."""
