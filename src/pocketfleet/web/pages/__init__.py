"""The pages: Django views that render templates; forms work without script, htmx makes them quick."""
