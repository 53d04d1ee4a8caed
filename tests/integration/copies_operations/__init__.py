"""Snapshots, backups, restores, clones and imports as operations, with real PocketBases."""
