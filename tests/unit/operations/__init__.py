"""Parts of operations that need no database and no process."""
