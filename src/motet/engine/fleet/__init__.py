"""Runs carried by many workers on many machines, over one journal in PostgreSQL.

The journal stays the truth. A job (`jobs`, by Procrastinate) is one leg: claim, replay, drive until the run ends or
only waits. Jobs may be lost or doubled: whoever cannot claim the run does nothing, and a sweep finds open runs that
could go on and have no job. `members` are the workers that live, `worker` is what one does, `limits` hold across all
of them, `schedules` start runs by the clock. Every time that matters is the database's.
"""
