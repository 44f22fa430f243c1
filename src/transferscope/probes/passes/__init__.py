"""Passes through a changed network that compute only what the change can reach: see the README of this folder."""
