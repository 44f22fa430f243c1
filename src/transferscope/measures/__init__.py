"""Pure mathematics on arrays: no networks, no files. `metrics` and `intervals` need NumPy alone, the rest torch."""
