"""A study in the browser while it runs: what its store says, told over HTTP to who may ask. Nothing is written."""
