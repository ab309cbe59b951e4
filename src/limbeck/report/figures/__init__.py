"""Figures from facts, by what they are about."""
