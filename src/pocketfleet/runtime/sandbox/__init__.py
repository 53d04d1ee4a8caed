"""The sandbox: an instance's PocketBase with namespaces, a user, limits and a network of its own."""
