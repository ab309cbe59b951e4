"""Floor 7. A page from facts; it computes nothing."""
