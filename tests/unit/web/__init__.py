"""Control's parts that need no database."""
