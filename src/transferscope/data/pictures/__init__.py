"""Pictures: files of every kind to squares of upright 8-bit RGB, by one scale a target."""
