"""The smallest file of every kind, to copy and to begin from; `contracts/test_newcomers.py` adds each as a user."""
