"""Settings shared by all tests, and the devices they run on."""

import gc
import os

# Tests are small: threads cost more than they give, and xdist runs two workers. The
# variables are read when numpy and torch load, and by subprocesses that tests start;
# OMP_NUM_THREADS=2 asks for two threads everywhere.
threads = os.environ.setdefault("OMP_NUM_THREADS", "1")
for variable in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = threads
os.environ["MPLBACKEND"] = "Agg"

import pytest  # noqa: E402
import torch  # noqa: E402
from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

torch.set_num_threads(int(threads))
settings.register_profile("repeatable", derandomize=True, deadline=None, max_examples=30)
settings.load_profile("repeatable")


def pytest_configure(config):
    """Let torch say that a thread of its backward passes was the first one to multiply on CUDA."""
    config.addinivalue_line("filterwarnings", "ignore:Attempting to run cuBLAS, but there was no")


def pytest_collection_finish():
    """Leave what is loaded and collected out of all further collections of garbage."""
    # Hypothesis 6.100 makes its generator of random numbers in the first test, and warns if nothing
    # that the collector sees refers to it: after the freeze nothing does.
    given(st.none())(lambda _: None)()
    gc.collect()
    gc.freeze()


DEVICES = {
    "cpu": True,
    "cuda": torch.cuda.is_available(),
    "mps": torch.backends.mps.is_available(),
}
if DEVICES["cuda"]:
    # Tests that name no device claim what holds in double precision, the default of the CPU.
    from sklearn_deeplinear.estimators import _options

    _options.default_device = lambda: torch.device("cpu")


@pytest.fixture(params=[name for name, present in DEVICES.items() if present])
def device(request):
    """Each device of this machine in turn, by torch's name for it."""
    return request.param
