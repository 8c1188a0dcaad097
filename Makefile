# Every target sets up what it needs; `make` alone says what there is.
PYTHON ?= python3
PY := .venv/bin/python
ARGS ?=
PLACE = $(filter-out data.fold=%,$(filter data=% data.% output_dir=%,$(ARGS)))
EXPERIMENTS = table1 table2 table3 figure3 late_last techniques confusion table2_joint ablations folds verdicts breakdown select_dc select_alpha
.DEFAULT_GOAL := help
$(foreach name,data seed alpha schedule trainer output_dir experiments only,$(if $(filter command line,$(origin $(name))), \
	$(error settings go into ARGS: make $(firstword $(MAKECMDGOALS)) ARGS="$(name)=$($(name))")))
.PHONY: help setup demo test test-faults test-long test-slurm check bench data verify plan paper figure2 $(EXPERIMENTS) tables \
	pictures report wheel clean test-browser test-extras

help:  ## these lines
	@awk -F ':.*## ' '/^[a-z0-9 -]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo "  or one table or figure, running what is missing of it:"
	@echo "    make $(EXPERIMENTS)" | fold -s -w 110
	@echo "  ARGS=\"…\" goes on to the commands, as in: make table3 ARGS=\"data=demo schedule=demo seed=0,1\""

.venv/.ready: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is " + sys.version.split()[0])'
	test -x $(PY) || $(PYTHON) -m venv .venv
	$(PY) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $@

setup: .venv/.ready  ## a .venv with the exact versions of constraints.txt

demo: setup  ## Late, three strategies, four alphas on the synthetic corpus: Table 3 and Figure 3 in minutes
	@echo "Synthetic voices, a small front end, 12 + 6 epochs (conf/data/demo.yaml, conf/schedule/demo.yaml): not VocalSet."
	$(PY) -m singtech prepare data=demo $(filter output_dir=%,$(ARGS))
	$(PY) -m singtech.run -m experiments=figure3 data=demo schedule=demo $(ARGS)
	$(PY) -m singtech tables data=demo $(filter output_dir=%,$(ARGS))
	$(PY) -m singtech report data=demo $(filter output_dir=%,$(ARGS))

test: setup  ## the tests, in minutes; with real recordings if SINGTECH_REAL_VOCALSET names their folder
	$(PY) -m pytest $(ARGS)

test-faults: setup  ## stop sweeps at 30 random moments and at every tenth file operation, crowd them; 20 min or so
	$(PY) -m pytest -s -n 0 -m long tests/faults $(ARGS)

test-long: setup  ## what takes minutes besides: Figure 3, two devices; with SINGTECH_REAL_VOCALSET, batch norm on real singing
	$(PY) -m pytest -s -n 0 -m long tests $(addprefix --ignore=tests/,browser extras faults slurm) $(ARGS)

test-slurm: setup  ## sweep on a one-node Slurm set up for it, kill jobs, take it down; as root on Debian, in minutes
	@test "$$(id -u)" = 0 && command -v apt-get > /dev/null || { \
		echo "make $@ sets up a Slurm of its own: it needs root, and Debian or a relative of it." >&2; exit 1; }
	dpkg -s slurm-wlm munge > /dev/null 2>&1 || { apt-get -qq update && \
		DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends slurm-wlm munge; }
	$(PY) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[slurm]"
	$(PY) -m pytest -n 0 -m long tests/slurm $(ARGS)

test-browser: setup  ## click through a report in Chromium without a screen; installs it as root on Debian
	test -x "$$(command -v chromedriver)" || { apt-get -qq update && \
		DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends chromium chromium-driver; }
	$(PY) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[browser]"
	$(PY) -m pytest -n 0 -m long tests/browser $(ARGS)

test-extras: setup  ## log to MLflow and Weights & Biases, export to ONNX, upload to a Hub of its own; installs them
	$(PY) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[hub,mlflow,onnx,wandb]"
	$(PY) -m pytest -n 0 -m long tests/extras $(ARGS)

check: setup  ## style, types and common mistakes
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

bench: setup  ## how fast it is on this machine beside the straightforward way, in minutes; ARGS="only=operator" a part
	$(PY) -m benchmarks.bench $(ARGS)

data: setup  ## fetch VocalSet (2 GB) if it is not there, slice it into clips, say what is in it
	$(PY) -m singtech prepare $(ARGS)

paper: setup plan  ## everything in the paper: print the plan, run what is missing, render all
	$(PY) -m singtech prepare $(PLACE)
	status=0; for experiment in table2 figure3; do \
		$(PY) -m singtech.run -m experiments=$$experiment $(ARGS) || status=$$?; \
		test $$status -lt 128 || exit $$status; \
	done; $(PY) -m singtech tables $(filter output_dir=%,$(ARGS)) && exit $$status

plan: setup  ## what `make paper` would run and train, how long, how much disk
	$(PY) -m singtech plan $(ARGS)

$(EXPERIMENTS): setup
	$(PY) -m singtech prepare $(PLACE)
	$(PY) -m singtech.run -m experiments=$@ $(ARGS)
	$(PY) -m singtech tables show=$@ $(filter output_dir=%,$(ARGS))

figure2: setup  ## the length of each technique; needs no run
	$(PY) -m singtech prepare $(PLACE)
	$(PY) -m singtech tables show=$@ $(filter output_dir=%,$(ARGS))

verify: setup  ## compare a VocalSet with what is known of it
	$(PY) -m singtech verify $(ARGS)

pictures: setup  ## waveform and spectrograms of one clip of each technique
	$(PY) -m singtech examples $(ARGS)

tables: setup  ## render all tables and figures from the results alone
	$(PY) -m singtech tables $(ARGS)

report: setup  ## everything on one page to open in a browser: outputs/tables/<data>/report.html
	$(PY) -m singtech report $(ARGS)

wheel: setup  ## build the package into dist/
	$(PY) -m pip wheel --quiet --no-deps -w dist .

clean:  ## remove the .venv and caches, never outputs/
	rm -rf .venv dist .pytest_cache .ruff_cache
