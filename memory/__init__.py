"""What an agent remembers: the journal, its state and the fold, blocks, the compiled context."""
