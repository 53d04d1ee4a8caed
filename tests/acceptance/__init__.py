"""Journeys as a user makes them."""
