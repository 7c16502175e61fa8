"""The yardstick: how fast Repertory is, as ratios to the least that is possible here and to what one would use instead.

Absolute times say more about the machine than about the program, so every subject is measured in the same run, in
turns, and what is reported is the ratio within each round, with its spread over the rounds.
"""
