# make PYTHON=/path/to/python3.11 demo     picks the interpreter .venv is created with
PYTHON ?= python3
VENV   := .venv
PY     := $(VENV)/bin/python
# The versions to install.
PINS   := constraints.txt

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow test-kernels test-matrix test-oldest coverage lint dist docs bench bench-gpu clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/.stamp-progress  ## run the demonstration on scikit-learn's diabetes data
	$(PY) examples/demo_diabetes.py

test: $(VENV)/.stamp-dev  ## run the tests, and every example in the documentation
	$(PY) -m pytest -n 2 --dist loadfile -m "not slow"

test-slow: $(VENV)/.stamp-dev  ## run the tests that repeat much: structured inputs, faults, figures
	$(PY) -m pytest -n 2 --dist loadfile -m slow

# Kernels of OpenBLAS, torch and MKL, and threads: what differs between processors.
KERNELS := Haswell:default:COMPATIBLE:1 Zen:avx2:AVX2:2 SkylakeX:avx512:AVX512:1 \
    Haswell:avx512:AVX512:2 Zen:default:COMPATIBLE:1 SkylakeX:avx2:AVX2:2

test-kernels: $(VENV)/.stamp-dev  ## run the tests on the kernels of six kinds of processors
	@set -e; for kernels in $(KERNELS); do \
	    echo "== $$kernels"; set -- $$(echo $$kernels | tr : ' '); \
	    OPENBLAS_CORETYPE=$$1 ATEN_CPU_CAPABILITY=$$2 MKL_CBWR=$$3 OMP_NUM_THREADS=$$4 \
	        $(PY) -m pytest -q -n 2 --dist loadfile tests; \
	done

# ROWS="oldest sklearn-1.7" chooses; the rows are in the script.
test-matrix:  ## run the tests on oldest to newest versions and record which pass
	$(call require,$(PYTHON),import sys; assert sys.version_info >= (3$(,)11),$(too_old))
	$(PYTHON) benchmarks/check_matrix.py $(ROWS)

test-oldest:  ## run the tests on the lowest versions that pyproject.toml allows
	@$(MAKE) test-matrix ROWS=oldest

coverage: $(VENV)/.stamp-dev $(VENV)/.stamp-release  ## tell which lines no test runs (an hour)
	$(PY) -m coverage run -m pytest -q tests sklearn_deeplinear
	$(PY) -m coverage report

lint: $(VENV)/.stamp-dev  ## check style, formatting and types
	$(PY) -m ruff check
	$(PY) -m ruff format --check
	$(PY) -m mypy

dist: $(VENV)/.stamp-release  ## build wheel and source archive, and check that they are whole
	$(PY) benchmarks/check_dist.py

docs: $(VENV)/.stamp-docs  ## build the documentation into docs/_build/html
	@rm -rf docs/generated
	$(PY) -m sphinx -W --keep-going -b html docs docs/_build/html

# Of torchvision, which pyscnn asks for, it imports nothing.
bench: $(VENV)/.stamp-bench  ## run the benchmarks, short ones in full (26 minutes), and make their tables
	@$(PY) -m pip install --quiet --disable-pip-version-check --no-deps -c $(PINS) pyscnn linalg-backends
	$(PY) benchmarks/run.py; status=$$?; $(PY) docs/_claims.py && exit $$status

bench-gpu: $(VENV)/.stamp-dev  ## time and test on a CUDA device what only one can show
	$(PY) benchmarks/bench_gpu.py
	$(PY) benchmarks/check_cuda.py
	$(PY) -m pytest -q tests/estimators tests/dynamics tests/test_common.py -k cuda

clean:  ## remove what these targets made, except the environments
	rm -rf build dist .pytest_cache .hypothesis .mypy_cache .ruff_cache demo_output \
	    docs/_build docs/_*.rst docs/tutorial.ipynb docs/generated docs/auto_examples docs/gen_modules \
	    docs/sg_execution_times.rst
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# One stamp per extra: it is installed once, and again when a dependency changes.
$(VENV)/.stamp-%: pyproject.toml $(PINS) | $(PY)
	$(call require,$(PY),import sys; assert sys.version_info >= (3$(,)11),$(too_old))
	@echo "Installing sklearn-deeplinear[$*] into $(VENV) ..."
	@$(PY) -m pip install --quiet --disable-pip-version-check -c $(PINS) -e ".[$*]"
	@touch $@

$(PY):
	$(call require,$(PYTHON),import sys; assert sys.version_info >= (3$(,)11),$(too_old))
	$(call require,$(PYTHON),import venv$(,) ensurepip,$(no_venv))
	@$(PYTHON) -m venv $(VENV)

# require(interpreter, statement, message): stop with the message unless the statement runs.
require = $(if $(shell $(1) -c "$(2); print('ok')" 2>/dev/null),,$(error $(1): $(3)))
too_old = Python 3.11 or newer is needed; choose one with: make PYTHON=/path/to/python3.11
no_venv = the venv module is missing; install it (Debian, Ubuntu: apt install python3-venv)
, := ,
