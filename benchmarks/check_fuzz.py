"""Does every estimator fit what is valid, and name what is not?

Draws parameters of every estimator from what it declares, valid and invalid ones, and data of
all sizes, kinds and units: see `tests/fuzzing.py`. A fit must end with finite predictions, or in
a ValueError or TypeError that names the parameter; prints everything else with the simplest
case that shows it, and exits with 1 if there is any.

    python benchmarks/check_fuzz.py                        # 20,000 sets, about 20 minutes
    python benchmarks/check_fuzz.py --sets 500 --seed 3    # others, and fewer
    python benchmarks/check_fuzz.py --only BatchedGridSearchCV  # those of one estimator among them

An interrupt ends it after the set at hand, with the table of the sets so far.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections import Counter, defaultdict
from pathlib import Path

import torch
from hypothesis import HealthCheck, Phase, given, seed, settings

# Behind what is installed, so that PYTHONPATH chooses the package to be checked.
sys.path.append(str(Path(__file__).parents[1]))

from benchmarks._environment import write_results  # noqa: E402
from tests.fuzzing import ESTIMATORS, cases, kind_of, outcome, simplified  # noqa: E402

# Refusals by reason in the results: the most frequent ones.
_REASONS = 40


def main():
    """Run the sets, print findings and a table; exit with 1 if there are findings."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", type=int, default=20_000, help="of each seed")
    parser.add_argument("--seed", type=int, nargs="+", default=[0])
    parser.add_argument("--only", choices=[*ESTIMATORS], help="the sets of one estimator alone")
    parser.add_argument("--raw", action="store_true", help="do not simplify what is found")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    interrupts = []
    # Raised inside a fit, KeyboardInterrupt would end that alone.
    signal.signal(signal.SIGINT, lambda *call: interrupts.append(call))
    rows = []
    for number in arguments.seed:
        if not interrupts:
            rows.append(draw(number, arguments, interrupts))
    if arguments.only is None:
        write_results("check_fuzz", rows, seed=arguments.seed)
    return int(any(row["findings"] for row in rows))


def draw(number, arguments, interrupts):
    """Draw and run the sets of a seed, print what is found and a table; a row of the results."""
    counts, reasons, findings = defaultdict(Counter), Counter(), Counter()
    start = time.process_time()

    def run(case):
        if interrupts:
            raise KeyboardInterrupt
        if arguments.only not in (None, case.name):
            return
        verdict, text = outcome(case)
        counts[case.name][verdict] += 1
        if verdict == "refused":
            reasons[kind_of(text)] += 1
        elif verdict == "finding":
            kind = kind_of(text)
            findings[kind] += 1
            if findings[kind] == 1:
                shown = case if arguments.raw else simplified(case)
                print(f"FINDING {text[:600]}\n    {shown}", flush=True)

    options = {
        "max_examples": arguments.sets,
        "database": None,
        "deadline": None,
        "phases": [Phase.generate],
        "suppress_health_check": list(HealthCheck),
    }
    try:
        seed(number)(settings(**options)(given(cases())(run)))()
    except KeyboardInterrupt:
        print("interrupted: what follows is of the sets so far")
    seconds = time.process_time() - start
    print(f"{'estimator':28}{'fitted':>10}{'refused':>10}{'findings':>10}")
    verdicts = ("fitted", "refused", "finding")
    for name, count in sorted(counts.items()):
        print(f"{name:28}" + "".join(f"{count[verdict]:10}" for verdict in verdicts))
    total = sum(sum(count.values()) for count in counts.values())
    found = f"{sum(findings.values())} findings in {total} sets"
    print(f"{found} of seed {number}; {seconds:.0f} s of one core", flush=True)
    for kind, count in findings.most_common():
        print(f"{count:8}  {kind}")
    return {
        "sets": total,
        "seed": number,
        "cpu_seconds": round(seconds),
        "by_estimator": {name: dict(count) for name, count in sorted(counts.items())},
        "refused_by_reason": dict(reasons.most_common(_REASONS)),
        "findings": dict(findings),
    }


if __name__ == "__main__":
    sys.exit(main())
