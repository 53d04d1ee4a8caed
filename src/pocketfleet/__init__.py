"""pocketfleet: PocketBase instances on a server you own, asleep until called."""
