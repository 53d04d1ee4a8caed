"""`python -m pocketfleet` is `pocketfleet`."""

from pocketfleet.cli import main

if __name__ == "__main__":
    main()
