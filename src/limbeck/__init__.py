"""Limbeck: knowledge distillation on PyTorch, with the proof that the teaching helped."""
