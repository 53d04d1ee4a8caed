"""Tests of the edge with a real HAProxy."""
