# make demo | test | lint | venv: each builds the environment first if it is missing or out of date.
VENV := .venv
PYTHON := $(VENV)/bin/python
STAMP := $(VENV)/.requirements-installed
DEMO := output/demo

.PHONY: venv demo test lint

venv: $(STAMP)

# The stamp is written last: an interrupted installation is done again, a finished one is reused.
$(STAMP): requirements.txt requirements-dev.txt
	python3 -c 'import sys; sys.exit("SAFA needs Python 3.10 or newer" if sys.version_info < (3, 10) else 0)'
	test -x $(PYTHON) || python3 -m venv $(VENV)
	$(PYTHON) -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	touch $@

demo: venv
	$(PYTHON) inference_img.py --img demo/i0.png demo/i1.png --exp 3 --output $(DEMO) --gif $(DEMO)/demo.gif
	$(PYTHON) -m demo.show $(DEMO)

test: venv
	$(PYTHON) -m pytest -q

lint: venv
	$(PYTHON) -m ruff check .
