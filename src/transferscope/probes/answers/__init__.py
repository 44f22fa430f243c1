"""Answers: the outputs of networks, and the mistakes they share."""
