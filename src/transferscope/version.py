"""The version of the package, which its results keep."""

VERSION = "0.2.0"
