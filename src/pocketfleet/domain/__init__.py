"""Pure rules: standard library and node-semver only."""
