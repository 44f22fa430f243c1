"""A small study that runs in seconds: images, a network, weights, and the command line as a user calls it."""
