"""Tables of images: what each column is, how its cells are read, and where the files lie."""
