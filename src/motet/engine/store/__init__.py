"""Where journals lie: one SQLite file, or PostgreSQL by URL. The same statements run on both.

Whatever goes wrong below is a `RunError` that says what, and nothing of a failed `do` remains. Leases go by the
database's clock.
"""
