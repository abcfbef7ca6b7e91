"""Which scripts `make bench` runs, in the order of their tables, and their minutes, about."""

from __future__ import annotations

from dataclasses import dataclass

# Minutes that a script may take in full.
LONGEST = 4.5


@dataclass(frozen=True)
class Entry:
    """Minutes of a script in full and at its small size; None where full runs take hours.

    Libraries take one thread, for two that share a core with anything else can take ten times as
    long, but for scripts that compare a process on all cores with several.
    """

    full: float | None
    quick: float
    all_threads: bool = False

    @property
    def in_full(self):
        """Whether `make bench` runs it in full, so that tables of the documentation are renewed."""
        return self.full is not None and self.full <= LONGEST

    def minutes_of(self, in_full):
        """Of one kind of run."""
        return self.full if in_full else self.quick


PLAN = {
    "bench_gd_step": Entry(4.5, 0.5),
    "bench_latency": Entry(1.9, 0.5),
    "bench_records": Entry(1.1, 0.4),
    "bench_path": Entry(0.5, 0.1),
    "bench_cv": Entry(0.9, 0.4),
    "bench_search": Entry(3, 0.9),
    "bench_workers": Entry(5, 0.5, all_threads=True),
    "bench_minima": Entry(5, 0.2),
    "bench_penalties": Entry(0.2, 0.2),
    "bench_classifier": Entry(6, 0.8),
    "bench_real_data": Entry(15, 0.1),
    "bench_minibatch": Entry(1.3, 0.2),
    "bench_homogeneous": Entry(1, 0.2),
    "bench_pathways": Entry(0.6, 0.2),
    "bench_batch": Entry(8, 0.4),
    "bench_flow_protocol": Entry(8, 0.4),
    "bench_curvature": Entry(0.3, 0.2),
    "ground_truth": Entry(1.2, 0.2),
    "bench_moments": Entry(0.7, 0.1),
    "bench_large": Entry(8, 1.1),
    "bench_out_of_core": Entry(5, 0.6),
    "bench_dask": Entry(1.6, 0.4),
    "bench_scaling": Entry(3, 1.2),
    "bench_gpu": Entry(None, 0.1, all_threads=True),
}
