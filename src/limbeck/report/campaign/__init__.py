"""The page of a comparison: two verdicts, and everything that explains them."""
