"""The command line: `repertory`."""
