"""Floor 5. Facts from records: statistics and comparisons; trains nothing."""
