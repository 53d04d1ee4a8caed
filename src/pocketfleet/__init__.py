"""pocketfleet: PocketBase instances on a server you own, asleep until called."""

__version__ = "0.1.0"
