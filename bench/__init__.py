"""What motet costs, measured side by side with what people use today.

Each module here measures one thing: it has `rows() -> list[Row]` and runs alone (`python -m bench.wire`).
`python -m bench` runs them all and writes `bench/RESULTS.md`. Rules: ratios within one run, rounds alternate between
the candidates, medians count, CPU time where CPU is the question. Nothing here is a test: no clock is asserted.
"""
