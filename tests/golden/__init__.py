"""Whole conversations as people have them, written down as scripts, and held with a whole Mathia on every channel."""
