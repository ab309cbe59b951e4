"""Floor 2. What can answer a batch: a frozen module, an ensemble."""
