"""One file per source of images, the file name being the scheme: `listing(rest)`, `fingerprint(rest, memo)`, `check`.

`listing` gives a `Listing`: names in an order that does not depend on the file system, and a `load` that can be sent to
another process. `fingerprint` is a hex digest that changes whenever the listing or a pixel does. `check(rest)` is a
cheap look that raises UserError; anyone's own module may leave it out. `absolute(rest, folder)` is there where `rest`
holds a path, `recognised(path)` where files or folders show by themselves that they are the source's: it gives the
path that `rest` is, or None, and is how `init` finds the source. All but these two take the options of a target
(`columns`, ...) that the source understands, by name. `EXAMPLE` is a reference that needs nothing of the user's own,
where there is one: the tests ask for it.
"""
