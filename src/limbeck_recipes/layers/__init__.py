"""Layers that recipes share."""
