"""The database: what is known of files, contents, pictures and matches. A noun: it keeps, it decides nothing.

All SQL of the service is in this package; a transaction is a function named for its meaning. One connection
writes (`connection.open_database`); nothing outside sees a half-done batch.
"""
