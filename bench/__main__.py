"""Runs benchmarks and reports them; exit code 1 when one misses what it must reach."""

import argparse
import asyncio
import pkgutil
import signal
import sys
from importlib import import_module
from pathlib import Path

import bench
from bench.framework import Figure, environment, show, store

PREFIX = "bench_"


def names() -> list[str]:
    """All benchmarks there are."""
    found = (module.name for module in pkgutil.iter_modules(bench.__path__))
    return sorted(name.removeprefix(PREFIX) for name in found if name.startswith(PREFIX))


async def measure(chosen: list[str]) -> dict[str, list[Figure]]:
    """Run these benchmarks one after the other, each in a home of its own, and print each when it is done."""
    results = {}
    for name in chosen:
        async with environment() as env:
            results[name] = await import_module(f"bench.{PREFIX}{name}").run(env)
        print(show(name, results[name]), flush=True)
    return results


def main(arguments: list[str]) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="bench", description=(bench.__doc__ or "").splitlines()[0])
    parser.add_argument("name", nargs="*", help=f"which ones (default: all of {', '.join(names())})")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all results into this file too")
    options = parser.parse_args(arguments)
    unknown = [name for name in options.name if name not in names()]
    if unknown:
        parser.error(f"no benchmark {unknown[0]!r}; there are {', '.join(names())}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the server goes with us
    results = asyncio.run(measure(options.name or names()))
    store(results, options.json)
    return int(not all(figure.ok for figures in results.values() for figure in figures))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
