"""Real PocketBases, started, killed and adopted by the runtime."""
