"""One file per source of images, the file name being the scheme: `listing(rest)`, `fingerprint(rest, memo)`, `check`.

`listing` gives a `Listing`: names in an order that does not depend on the file system, and a `load` that can be sent to
another process. `fingerprint` is a hex digest that changes whenever the listing or a pixel does. `check(rest)` is a
cheap look that raises UserError; anyone's own module may leave it out. `absolute(rest, folder)` is there where `rest`
holds a path. All but that one take the options of a target (`columns`, ...) that the source understands, by name.
`EXAMPLE` is a reference that needs nothing of the user's own, where there is one: the tests ask for it.
"""
