"""pocketfleet as a Django application."""

from django.apps import AppConfig


class PocketfleetConfig(AppConfig):
    """The tables of control and node."""

    name = "pocketfleet"
    label = "pocketfleet"
    default_auto_field = "django.db.models.BigAutoField"
