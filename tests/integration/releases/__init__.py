"""Releases from real wheels, folders, and a stand-in for GitHub."""
