"""Images of the user: references such as `folder:PATH` to listings, listings to decoded tables, tables to batches."""

from transferscope.data.listing import Listing
from transferscope.data.reference import absolute, check_ref, open_listing, source_fingerprint, source_names
from transferscope.data.table import Table, build, open_table
from transferscope.data.target import Columns, Target

__all__ = [
    "Columns",
    "Listing",
    "Table",
    "Target",
    "absolute",
    "build",
    "check_ref",
    "open_listing",
    "open_table",
    "source_fingerprint",
    "source_names",
]
