"""Accounts: what django-allauth is told of our mail, our words, our rules and our records."""
