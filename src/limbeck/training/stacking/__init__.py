"""Many runs of one architecture as one stacked model: seeds, and what else differs, as a batch dimension."""
