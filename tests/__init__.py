"""Every test; each runs against real servers of its own."""
