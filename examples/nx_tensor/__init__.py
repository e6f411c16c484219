"""Nx tensors as NumPy arrays."""
