"""`python -m tests.crash NAME ARGUMENTS`: a program of this folder, with Django ready before anything is imported."""

from __future__ import annotations

import importlib
import sys

import django

if __name__ == "__main__":
    django.setup()
    importlib.import_module(f"tests.crash.{sys.argv[1]}").main(*sys.argv[2:])
