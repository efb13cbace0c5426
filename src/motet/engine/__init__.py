"""Runs workflows. Given ways to call servers, it knows none.

motet.engine.memory.run_workflow(workflow, inputs, *, dispatch, …) -> Report     in memory, to its end
motet.engine.memory.Run(workflow, inputs, *, dispatch, …)                        the same with `cancel` and `answer`
motet.engine.report.Report                                                       what became of it
motet.engine.ports.Dispatch                                                      what the host implements
"""
