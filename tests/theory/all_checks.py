"""Every check of the public functions of `theory` on structured problems."""

from __future__ import annotations

from itertools import chain

from tests.theory.checks_certificates import certificate_checks
from tests.theory.checks_flows import (
    end_to_end_checks,
    mode_checks,
    pathway_flow_checks,
    two_layer_checks,
)
from tests.theory.checks_generalised import generalised_checks
from tests.theory.checks_landscape import collapse_checks, landscape_checks
from tests.theory.checks_minima import minimum_checks, path_checks
from tests.theory.checks_moments import moment_checks
from tests.theory.checks_pathways import consistency_checks, pathway_checks
from tests.theory.checks_weights import factor_checks, noise_checks, step_checks

SOURCES = (
    moment_checks,
    minimum_checks,
    path_checks,
    certificate_checks,
    generalised_checks,
    landscape_checks,
    collapse_checks,
    factor_checks,
    noise_checks,
    step_checks,
    pathway_checks,
    consistency_checks,
    mode_checks,
    pathway_flow_checks,
    two_layer_checks,
    end_to_end_checks,
)


def all_checks():
    """Yield every check, slow ones included."""
    return chain.from_iterable(source() for source in SOURCES)
