"""SIGKILL at every step boundary."""
