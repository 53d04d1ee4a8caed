"""Rehearsals of real upgrades, and of what may go wrong in them."""
