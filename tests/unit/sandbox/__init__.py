"""Parts of the sandbox without a cell."""
