"""Learning: the training loop on Ray."""
