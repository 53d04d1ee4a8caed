"""The suite: rules, parts against real parts, journeys, crashes, pages, documents."""
