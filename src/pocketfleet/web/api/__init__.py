"""The REST API, `/api/v1`: one file per kind of thing, each beginning with its routes."""
