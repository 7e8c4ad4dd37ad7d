"""Bugs planted on purpose, each in a copy of the checkout: tests that let one live prove nothing."""
