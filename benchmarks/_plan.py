"""Which scripts `make bench` runs, in the order of their tables, and their minutes, about."""

from __future__ import annotations

from dataclasses import dataclass

# Minutes that a script may take in full.
LONGEST = 2.5


@dataclass(frozen=True)
class Entry:
    """Minutes of a script in full and at its small size; None where full runs take hours."""

    full: float | None
    quick: float
    always_full: bool = False

    @property
    def in_full(self):
        """Whether `make bench` runs it in full, so that tables of the documentation are renewed."""
        return self.always_full or (self.full is not None and self.full <= LONGEST)

    def minutes_of(self, in_full):
        """Of one kind of run."""
        return self.full if in_full else self.quick


PLAN = {
    "bench_gd_step": Entry(4.3, 0.5, always_full=True),
    "bench_latency": Entry(1.5, 0.5),
    "bench_records": Entry(2, 0.4),
    "bench_path": Entry(1, 0.1),
    "bench_cv": Entry(2.5, 0.4),
    "bench_search": Entry(3, 1),
    "bench_workers": Entry(5, 1.5),
    "bench_minima": Entry(5, 0.3),
    "bench_penalties": Entry(0.5, 0.2),
    "bench_classifier": Entry(6, 0.6),
    "bench_real_data": Entry(15, 0.2),
    "bench_minibatch": Entry(1, 0.2),
    "bench_homogeneous": Entry(4, 0.3),
    "bench_pathways": Entry(1, 0.2),
    "bench_batch": Entry(8, 0.5),
    "bench_flow_protocol": Entry(8, 0.5),
    "bench_curvature": Entry(1, 0.2),
    "ground_truth": Entry(2, 0.2),
    "bench_moments": Entry(1, 0.1),
    "bench_large": Entry(8, 1.2),
    "bench_out_of_core": Entry(5, 0.8),
    "bench_dask": Entry(2, 0.4),
    "bench_scaling": Entry(3, 1.5),
    "bench_gpu": Entry(None, 0.1),
}
