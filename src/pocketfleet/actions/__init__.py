"""Every state change: one verb each, with its audit row, in one transaction."""
