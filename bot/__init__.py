"""Puts the pieces together and starts processes; no rules live here."""
