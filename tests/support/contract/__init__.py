"""The contracts: what a file of each kind promises, as functions that can be called for one file alone.

``check_source(module)`` and its like take any module, of the project or of one's own, and fail with an assertion that
says what it lacks. `tests/contracts` calls them for every file of the project.
"""
