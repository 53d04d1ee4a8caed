"""Judging a release on a clone; filled by the issue that changes versions."""
