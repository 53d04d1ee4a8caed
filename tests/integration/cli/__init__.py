"""The command line as a process of its own, and against the real API."""
