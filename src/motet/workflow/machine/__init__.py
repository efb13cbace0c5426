"""The moves of a run, by idea. `RunState` is their only door; each module knows those above it in this list.

    run         one run: what is ready, in flight and waited for, and the small moves all others are made of
    alarms      what becomes due by itself
    stopping    a failure, a cancel, its time: nothing new starts
    ladder      what a step comes to when its action failed (SEMANTICS §2.3): decides, moves nothing
    outcomes    what came of an action, a look or a fallback
    ending      `finally`, and what a workflow has come to, for itself and for the step that ran it
    undoing     finished steps are taken back, the newest first
    resuming    a run that has ended goes on with its gaps
    forward     a step becomes possible and begins, with its items and its nested workflow
    answers     what waited goes on: an answer, a timer, a verdict, a crash that was survived

Moves that would reach down this list, such as "a step has settled: look at those that wait for it", are queued as
a word in `Run.todo`; `RunState` takes them from there, one by one.
"""
