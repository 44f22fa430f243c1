"""Small networks whose lines are known, and the slow way to walk one."""
