"""The whole system as one deterministic program: one seed, one run, byte for byte.

After FoundationDB's and TigerBeetle's simulators: the code is the product's, only the shells (time, network, disk,
processes, models) are replaced by ones that a seed drives into every corner.
"""
