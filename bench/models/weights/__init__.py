"""Weights in pickle formats, converted to safetensors by a process of their own."""
