"""Beside published numbers: what was published of the same experiments, and what this study measured, cell by cell.

Every number of the publication stands with how it is known: printed in a table or text, read off a figure, inferred, or
told by others, with how far it may be off for that. A number that this study measured too stands beside it, as a mean
over seeds with its interval; where one has no counterpart here, the published one stands alone.

How to read it. A difference is told only where both rest on one basis: the same score of the same images, network,
size, rates, epochs and options, as far as those of the publication are known; else the last column says what was
otherwise. Published numbers have no interval: over how many runs they are means, and how far others would lie, is not
in them. So *reproduced* is said only where the whole interval of this study, from three seeds on, lies within the
margin that the file of published numbers states, less what its number may be off; *apart* where the interval leaves the
published number out, which may as well be the luck of the published run; and *open* otherwise.
"""

from transferscope.against.form import Published, read
from transferscope.against.lines import Line, lines, rows
from transferscope.against.page import section

__all__ = ["Line", "Published", "lines", "read", "rows", "section"]
