"""The expensive steps that analyses share: ingest, train, predict. Importing one loads no heavy library."""
