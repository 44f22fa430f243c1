"""One file per source of images, the file name being the scheme: `listing(rest)`, `fingerprint(rest, memo)`; optionally
`check(rest)`, a cheap look that raises UserError, and `absolute(rest, folder)` when `rest` holds a path."""
