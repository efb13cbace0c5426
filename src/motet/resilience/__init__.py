"""Deadline, retry, concurrency limit, breaker: pure decisions that take `now` and chance, and thin async drivers."""
