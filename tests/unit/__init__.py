"""Rules, fast and exhaustive."""
