"""Following ranges, watching new releases, and what the API tells of both."""
