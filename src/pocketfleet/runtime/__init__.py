"""A PocketBase and its files; no Django."""
