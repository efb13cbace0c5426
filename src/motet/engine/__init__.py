"""Runs workflows. Given ways to call servers (`ports.Dispatch`), a clock, observers and somebody to ask.

In memory, to the end (`memory`, `functions`):

    await run_workflow(workflow, inputs, *, dispatch, run=None, now=…, emit=…, ask=None, secrets=None, redact=…,
                       parallel=64, dry="" | "plan" | "reads") -> Report
    run = Run(workflow, inputs, *, dispatch, …); await run.drive() -> Report; run.cancel(who); run.answer(key, verdict)
    await run_function(function, inputs, *, dispatch, …) -> Report         `function` made by `@workflow`
    run = FunctionRun(function, inputs, *, dispatch, …); await run.drive(); run.cancel(who)

Kept in a journal (`store`, `journal`, `durable`): a SQLite file or a `postgresql://` URL.

    async with open_store(where) as store:
        runs = Durable(store, now=…, emit=…, secrets=…, redact=…, parallel=64, near=60.0)
        run = await runs.start(workflow, inputs, run=None, key=None)       idempotent by id and by key
        report = await runs.drive(run, dispatch, ask=None)                 to its end, or until it only waits
        report = await runs.resume(run, dispatch, ask=None, who="")        interrupted, waiting, or partial
        await runs.resume_all(dispatch) · runs.pause(run) · await runs.rerun(run, start=STEP)
        await runs.approve(run, step, who=…) · reject · resolve(run, step, "done" | "failed" | "retry", data=…)
        await runs.answer(run, step, "answer", data={question: {"action": …, "content": …}}) · cancel(run, who=…)
        await runs.list() · show(run) -> Report · records(run) · history(run) -> entries · verify(run) · prune(before)

`report.Report` is what all of these give; `rehearsal` runs a workflow with one server failing at a time. Nothing is
imported here, so that the memory carrier costs no database driver.
"""
