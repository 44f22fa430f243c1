"""Exports: what a study left, in the forms that other tools read; one file each."""
