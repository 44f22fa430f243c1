"""`python -m transferscope`: the same as the command `transferscope`."""

from transferscope.cli import main

if __name__ == "__main__":
    main()
