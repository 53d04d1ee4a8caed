"""Open admin and admin sync with real PocketBase, without the edge."""
