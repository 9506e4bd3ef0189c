"""The benchmarks: ``python -P -m bench [NAME…] [--json FILE]``.

Each is a module ``bench.bench_NAME`` with ``async def run(env: Environment) -> list[Figure]``. What it promises is a
ratio or a bound within one run: both sides are measured in turn, round by round, so that a noisy machine is noisy for
both. Measure on a machine that does nothing else: the scheduler favours whoever asks for little.
"""
