"""Repertory: stateful language-model agents that remember, talk to each other, and survive any crash."""
