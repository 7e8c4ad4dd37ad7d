"""The books: exact money, accounts, double entries, holds. It knows people only by an opaque owner key.

Its laws are PostgreSQL's (docs/adr/0013): what this package refuses politely, the database refuses whoever writes it.
"""
