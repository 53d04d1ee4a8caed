"""Control: API, pages, streams, preparation."""
