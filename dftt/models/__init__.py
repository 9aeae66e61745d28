"""What is loaded: the frozen target, the draft network, adapters, and the files they come from."""
