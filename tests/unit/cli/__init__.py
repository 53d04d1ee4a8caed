"""The command line against a double of the API at the HTTP layer."""
