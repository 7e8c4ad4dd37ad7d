"""Tests of what puts the pieces together."""
