"""The engine: steps, their keys, a store, a plan and an executor. It knows nothing of networks."""
