"""Tests of the edge that need no HAProxy."""
