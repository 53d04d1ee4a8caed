"""Durable work: the engine, and one file of step functions per kind."""
