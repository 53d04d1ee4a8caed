"""Parts of the runtime without a PocketBase."""
