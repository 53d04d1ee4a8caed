"""The judging of rehearsals, without a PocketBase."""
