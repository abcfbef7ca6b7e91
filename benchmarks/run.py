"""Run benchmarks by their names, and say what each of them took.

    python benchmarks/run.py                 # the plan, as `make bench` does
    python benchmarks/run.py --full          # all in full: hours
    python benchmarks/run.py --quick         # all at their small size
    python benchmarks/run.py gd_step cv      # bench_gd_step.py and bench_cv.py in full
    python benchmarks/run.py check_fits      # scripts that check are run by their whole name
    python benchmarks/run.py --list          # names, questions, and the plan

The plan (`_plan.py`) runs in full what is short, and the rest at its small size, in less than half
an hour on two idle cores; libraries take one thread each (`_plan.py` says where not). Full runs
write benchmarks/results, of which the tables are made at the end; quick ones write
benchmarks/results/quick, which git ignores. A script that fails does not stop the others. What each
script took stands in results/quick/run.json.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

from _environment import write_results
from _plan import PLAN
from table import question, write

HERE = Path(__file__).parent
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def scripts():
    """Stems of all scripts by the names they are called by, those of the plan first."""
    known = {stem.removeprefix("bench_"): stem for stem in PLAN}
    return known | {path.stem: path.stem for path in sorted(HERE.glob("check_*.py"))}


def run(name, in_full):
    """Run a script; return its exit status, seconds by the clock and of the processors."""
    begin, before = time.perf_counter(), processor_time()
    command = [
        sys.executable,
        str(HERE / f"{scripts()[name]}.py"),
        *([] if in_full else ["--quick"]),
    ]
    status = subprocess.run(command, check=False, env=surroundings(name)).returncode
    return {
        "script": name,
        "full": in_full,
        "status": status,
        "seconds": time.perf_counter() - begin,
        "processor_seconds": processor_time() - before,
    }


def surroundings(name):
    """Environment of a script: one thread each, unless it wants all or the shell says otherwise."""
    entry = PLAN.get(scripts()[name])
    return dict(
        os.environ if entry and entry.all_threads else dict.fromkeys(THREADS, "1") | os.environ
    )


def processor_time():
    """Seconds that ended children have had of all processors."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def jobs(names, mode):
    """What to run, by name, and whether in full; without names the plan, or all in one mode."""
    modes = {stem.removeprefix("bench_"): entry.in_full for stem, entry in PLAN.items()}
    if mode is None:
        return dict.fromkeys(names, True) or modes
    return dict.fromkeys(names or modes, mode == "full")


def planned(name, in_full):
    """Minutes that a run should take, none where that is not known."""
    entry = PLAN.get(scripts()[name])
    return (entry and entry.minutes_of(in_full)) or 0.0


def describe(known, plan):
    """Print the questions of all scripts and what the plan does with them."""
    for name, stem in known.items():
        mode = {True: "in full", False: "quick"}.get(plan.get(name), "not in the plan")
        cost = f", {planned(name, plan[name]):.1f} min" if name in plan else ""
        print(f"{name:20} {mode + cost:20} {question(stem)}")
    print(f"{total(plan):.0f} minutes planned")


def total(plan):
    """Planned minutes of all."""
    return sum(planned(name, in_full) for name, in_full in plan.items())


def report(rows):
    """Print what each script took, and which failed."""
    print(f"\n{'script':20}{'':8}{'s':>8}{'processor s':>14}")
    for row in rows:
        mode, failed = "full" if row["full"] else "quick", f"  exit status {row['status']}"
        print(
            f"{row['script']:20}{mode:8}{row['seconds']:8.1f}{row['processor_seconds']:14.1f}"
            + failed * bool(row["status"])
        )
    print(f"{'all':28}{sum(row['seconds'] for row in rows):8.1f}")
    failed = [row["script"] for row in rows if row["status"]]
    if failed:
        print(f"failed: {', '.join(failed)}")
    return bool(failed)


def main():
    """Run what is named, or the plan; exit with 1 if a script failed."""
    line = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    known = scripts()
    line.add_argument("names", nargs="*", metavar="NAME", help="default: the plan")
    mode = line.add_mutually_exclusive_group()
    mode.add_argument("--full", dest="mode", action="store_const", const="full", help="all sizes")
    mode.add_argument(
        "--quick", dest="mode", action="store_const", const="quick", help="small ones"
    )
    line.add_argument("--list", action="store_true", help="print names, questions and the plan")
    arguments = line.parse_args()
    unknown = [name for name in arguments.names if name not in known]
    if unknown:
        line.error(f"no benchmark is called {', '.join(unknown)}; --list prints all names")
    plan = jobs(arguments.names, arguments.mode)
    if arguments.list:
        describe(known, plan)
        return
    rows = []
    for number, (name, in_full) in enumerate(plan.items(), 1):
        spent = sum(row["seconds"] for row in rows) / 60
        print(
            f"== {number} of {len(plan)}: {name}, {'in full' if in_full else 'quick'}; "
            f"{spent:.1f} minutes since the start, {total(plan):.0f} planned",
            flush=True,
        )
        rows.append(run(name, in_full))
        # After each, so that what is stopped has left what it took.
        write_results("run", rows, quick=True, repeats=1)
    if any(plan.values()):
        write()
    sys.exit(report(rows))


if __name__ == "__main__":
    main()
