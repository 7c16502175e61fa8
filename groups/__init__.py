"""Patterns of agents that work together."""
