"""Each file of domain/: exhaustive where the rules are finite, by hypothesis where they are not."""
