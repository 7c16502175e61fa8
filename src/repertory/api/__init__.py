"""The Python face: what programs that use Repertory see of it."""
