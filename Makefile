# make demo | test | test-slow | lint | venv: each builds the environment first if it is missing or out of date.
# make demo TORCH=cpu: where it is missing, with PyTorch for CPUs; or cu126, rocm6.4 ...: any name of PyTorch's own
# indexes. Without TORCH it is the build on PyPI, which brings CUDA on Linux.
VENV := .venv
PYTHON := $(VENV)/bin/python
STAMP := $(VENV)/.requirements-installed
DEMO := output/demo
PIP := $(PYTHON) -m pip --disable-pip-version-check
# A worker for each core, of one thread: most tests are small, or wait for processes that they start.
PYTEST := OMP_NUM_THREADS=1 $(PYTHON) -m pytest -q -n auto --maxprocesses 4 --dist worksteal

# Measured on Linux with PyTorch 2.14, and 2.13+cpu; what pip keeps in its cache is counted as disk space.
BUILD := $(or $(TORCH),$(if $(filter Linux-x86_64,$(shell uname -s)-$(shell uname -m)),CUDA,cpu))
DOWNLOAD_GB := $(if $(filter cpu,$(BUILD)),0.4,3.1)
DISK_GB := $(if $(filter cpu,$(BUILD)),2,9)

.PHONY: venv torch demo test test-slow lint

venv: $(STAMP)

# The stamp is written last: an interrupted installation is done again, a finished one is reused.
$(STAMP): requirements.txt requirements-dev.txt
	python3 -c 'import sys; sys.exit("SAFA needs Python 3.10 or newer" if sys.version_info < (3, 10) else 0)'
	test -x $(PYTHON) || python3 -m venv $(VENV)
	@$(PIP) show --quiet torch 2> /dev/null || $(MAKE) --no-print-directory torch
	$(PIP) install --quiet -r requirements-dev.txt
	touch $@

torch:
	@echo "PyTorch ($(BUILD)) and the rest: $(DOWNLOAD_GB) GB to download, $(DISK_GB) GB of disk with pip's cache."
	@python3 -c 'import shutil, sys; free = shutil.disk_usage("$(VENV)").free / 1e9; sys.exit(0 if free >= $(DISK_GB) else \
	    f"only {free:.1f} GB are free here: make room$(if $(filter cpu,$(BUILD)),,, or take less with TORCH=cpu)")'
	$(PIP) install $(if $(TORCH),--index-url https://download.pytorch.org/whl/$(TORCH)) $$(grep ^torch requirements.txt)

demo: venv
	$(PYTHON) inference_img.py --img demo/i0.png demo/i1.png --exp 3 --output $(DEMO) --gif $(DEMO)/demo.gif
	$(PYTHON) -m demo.show $(DEMO)

test: venv
	$(PYTEST) -m 'not slow'

test-slow: venv
	$(PYTEST) -m slow

lint: venv
	$(PYTHON) -m ruff check .
	$(PYTHON) -m mypy
