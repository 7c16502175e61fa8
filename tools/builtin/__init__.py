"""The tools that every agent can be given."""
