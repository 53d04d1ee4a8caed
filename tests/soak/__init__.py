"""The soak: a whole fleet under load, work and faults at once, and a reckoning at the end."""
