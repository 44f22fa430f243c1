"""Images of the user: references such as `folder:PATH` to listings, listings to decoded tables, tables to batches."""

from transferscope.data.listing import Listing
from transferscope.data.pictures.squares import Squares, build, open_squares
from transferscope.data.reference import absolute, check_ref, open_listing, recognised, source_fingerprint, source_names
from transferscope.data.table import Table
from transferscope.data.target import Columns, Target

__all__ = [
    "Columns",
    "Listing",
    "Squares",
    "Table",
    "Target",
    "absolute",
    "build",
    "check_ref",
    "open_listing",
    "open_squares",
    "recognised",
    "source_fingerprint",
    "source_names",
]
