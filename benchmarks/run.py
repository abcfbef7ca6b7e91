"""Run benchmarks by their names, and say what each of them took.

    python benchmarks/run.py                 # all, in full: hours
    python benchmarks/run.py --quick         # all at their small size, as `make bench` does
    python benchmarks/run.py gd_step cv      # bench_gd_step.py and bench_cv.py in full
    python benchmarks/run.py check_fits      # scripts that check are run by their whole name
    python benchmarks/run.py --list

Full runs write benchmarks/results, from which the documentation reads its figures; quick ones write
benchmarks/results/quick, which git ignores. What each script took stands in quick/run.json.
"""

from __future__ import annotations

import argparse
import ast
import resource
import subprocess
import sys
import time
from pathlib import Path

from _environment import write_results

HERE = Path(__file__).parent


def scripts():
    """Paths of all scripts by the names they are called by."""
    measuring = [*HERE.glob("bench_*.py"), *HERE.glob("ground_truth.py")]
    named = {path.stem.removeprefix("bench_"): path for path in sorted(measuring)}
    return named | {path.stem: path for path in sorted(HERE.glob("check_*.py"))}


def question(path):
    """First line of what a script says of itself."""
    return ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))).splitlines()[0]


def run(name, options):
    """Run a script; return its exit status, seconds by the clock and of the processors."""
    begin, before = time.perf_counter(), processor_time()
    command = [sys.executable, str(scripts()[name]), *options]
    status = subprocess.run(command, check=False).returncode
    return {
        "script": name,
        "status": status,
        "seconds": time.perf_counter() - begin,
        "processor_seconds": processor_time() - before,
    }


def processor_time():
    """Seconds that ended children have had of all processors."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def main():
    """Run what is named; exit with 1 if a script failed."""
    line = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    known = scripts()
    line.add_argument("names", nargs="*", metavar="NAME", help="default: all that measure")
    line.add_argument("--quick", action="store_true", help="small sizes")
    line.add_argument("--list", action="store_true", help="print the names and questions")
    arguments = line.parse_args()
    if arguments.list:
        for name, path in known.items():
            print(f"{name:20} {question(path)}")
        return
    unknown = [name for name in arguments.names if name not in known]
    if unknown:
        line.error(f"no benchmark is called {', '.join(unknown)}; --list prints all names")
    options = ["--quick"] * arguments.quick
    rows = []
    for name in arguments.names or [name for name in known if not name.startswith("check_")]:
        print(f"== {name}", flush=True)
        rows.append(run(name, options))
    print(f"\n{'script':20}{'s':>8}{'processor s':>14}")
    for row in rows:
        failed = f"  exit status {row['status']}" if row["status"] else ""
        print(f"{row['script']:20}{row['seconds']:8.1f}{row['processor_seconds']:14.1f}{failed}")
    print(f"{'all':20}{sum(row['seconds'] for row in rows):8.1f}")
    if arguments.quick:
        write_results("run", rows, quick=True, repeats=1)
    sys.exit(any(row["status"] for row in rows))


if __name__ == "__main__":
    main()
