"""The books: exact money, accounts, double entries, holds; and the instructions by which money moves at a provider.

The books know people only by an opaque owner key. An instruction also knows whose it is and where its end is told.
Its laws are PostgreSQL's (docs/adr/0013): what this package refuses politely, the database refuses whoever writes it.
"""
