"""Control: settings, pages, API, streams."""
