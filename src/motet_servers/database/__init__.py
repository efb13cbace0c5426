"""The database server: SQLite and PostgreSQL, read behind three locks, written in one transaction (`db://`)."""
