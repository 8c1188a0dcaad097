# Each target installs what it needs; `make` alone lists the targets.
PYTHON ?= python3
PY := .venv/bin/python
ARGS ?=
# the demo corpus has its own schedule
RUN_ARGS = $(ARGS)$(if $(filter data=demo,$(ARGS)),$(if $(filter schedule=%,$(ARGS)),, schedule=demo))
CORPUS_ARGS = $(filter-out data.fold=%,$(filter data=% data.% output_dir=%,$(ARGS)))
EXPERIMENTS = table1 table2 table3 figure3 late_last techniques confusion table2_joint ablations folds verdicts breakdown select_dc select_alpha rounding floor ladder batch_norm imbalance imbalance_auc frontier resolution candidates recipe encoders encoder_layers shortcuts
.DEFAULT_GOAL := help
$(foreach name,data seed alpha schedule trainer output_dir experiments only,$(if $(filter command line,$(origin $(name))), \
	$(error settings go into ARGS: make $(firstword $(MAKECMDGOALS)) ARGS="$(name)=$($(name))")))
.PHONY: help setup demo test test-faults test-long test-slurm check bench data verify plan paper figure2 gains beyond encoders-setup tuning long_tail $(EXPERIMENTS) tables \
	pictures report wheel clean test-browser test-docs test-extras docs

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9 -]+:.*## / { line = sprintf("  make %-12s", $$1); number = split($$2, words, " "); \
		for (i = 1; i <= number; i++) { \
			if (length(line) + length(words[i]) > 78) { print line; line = sprintf("%19s", "") } \
			line = line " " words[i] } \
		print line }' $(MAKEFILE_LIST)
	@echo "  or one table or figure, with its missing runs:"
	@echo "    make $(EXPERIMENTS)" | fold -s -w 78
	@echo "  ARGS=\"…\" is passed to the commands:"
	@echo "    make table3 ARGS=\"data=demo schedule=demo seed=0,1\""

.venv/.ready: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is " + sys.version.split()[0])'
	test -x $(PY) || $(PYTHON) -m venv .venv
	$(PY) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $@

setup: .venv/.ready  ## make a .venv with the exact versions of constraints.txt

# threads that spin while another program has a core would make it several times slower
demo: export OMP_WAIT_POLICY ?= PASSIVE
demo: setup  ## Late, three strategies, four alphas on the synthetic corpus: Table 3 and Figure 3 in minutes
	@echo "Synthetic voices, a small front end, 8 + 4 epochs (conf/data/demo.yaml, conf/schedule/demo.yaml): not VocalSet."
	$(PY) -m singtech.run -m experiments=figure3 data=demo schedule=demo $(ARGS)
	$(PY) -m singtech tables data=demo $(filter output_dir=%,$(ARGS))
	$(PY) -m singtech report data=demo $(filter output_dir=%,$(ARGS))

test: setup  ## run the tests, in minutes; with real recordings if SINGTECH_REAL_VOCALSET names their folder
	$(PY) -m pytest $(ARGS)

test-faults: setup  ## stop sweeps at 30 random moments and at every tenth file operation, run many at once; about 20 min
	$(PY) -m pytest -s -n 0 -m long tests/faults $(ARGS)

test-long: setup  ## other tests of minutes: Figure 3, two devices; with SINGTECH_REAL_VOCALSET, batch norm on real singing
	$(PY) -m pytest -s -n 0 -m long tests $(addprefix --ignore=tests/,browser docs extras faults slurm) $(ARGS)

test-slurm: setup  ## install a one-node Slurm, sweep on it, kill jobs, stop it; as root on Debian, in minutes
	@test "$$(id -u)" = 0 && command -v apt-get > /dev/null || { \
		echo "make $@ installs its own Slurm: it needs root, and Debian or a similar system." >&2; exit 1; }
	dpkg -s slurm-wlm munge > /dev/null 2>&1 || { apt-get -qq update && \
		DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends slurm-wlm munge; }
	$(PY) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[slurm]"
	$(PY) -m pytest -n 0 -m long tests/slurm $(ARGS)

test-browser: setup  ## test a report in Chromium without a screen; install it as root on Debian
	test -x "$$(command -v chromedriver)" || { apt-get -qq update && \
		DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends chromium chromium-driver; }
	$(PY) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[browser]"
	$(PY) -m pytest -n 0 -m long tests/browser $(ARGS)

test-extras: setup  ## log to MLflow and Weights & Biases, export to ONNX, upload to a Hub, run a notebook
	$(PY) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[hub,mlflow,notebook,onnx,wandb]"
	$(PY) -m pytest -n 0 -m long tests/extras $(ARGS)

test-docs: docs  ## run the commands of the documentation on the demo and look at the built pages; in minutes
	$(PY) -m pytest -n 0 -m long tests/docs $(ARGS)

docs: export NO_MKDOCS_2_WARNING = true
docs: setup  ## build the documentation into site/; open site/index.html
	$(PY) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[docs]"
	$(PY) -m mkdocs build

check: setup  ## check style, types and common mistakes
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

bench: setup  ## compare its speed with a simple version on this machine, in minutes; ARGS=quick=true: what a GPU is worth
	$(PY) -m benchmarks.bench $(ARGS)

data: setup  ## download VocalSet (2 GB) if it is absent, cut it into clips, print its content
	$(PY) -m singtech prepare $(ARGS)

# run sweeps one after the other, also if a run of one fails; $(1): the sweeps, $(2): settings of all
define each_sweep
for sweep in $(1); do \
		$(PY) -m singtech.run -m $$sweep $(2) $(RUN_ARGS) || status=$$?; \
		test $$status -lt 128 || exit $$status; \
	done
endef
# the same, then render; $(2): options of tables
define sweep
$(PY) -m singtech prepare $(CORPUS_ARGS)
	status=0; $(call each_sweep,$(1)); $(PY) -m singtech tables $(2) $(filter output_dir=%,$(ARGS)) && exit $$status
endef
# Hydra sweeps over products only: what these experiments have beside their product
LADDER = experiments=ladder "condition=late_crt_wc,late_minimum alpha=0.0 ablation=dropout_head" \
	condition=late_balanced_sampler "condition=late_minimum alpha=1.0"
IMBALANCE = experiments=imbalance "condition=late_crt_wc,late_minimum alpha=0.0,1.0" "condition=late_joint alpha=0.0"
LONG_TAIL = experiments=long_tail "experiments=long_tail condition=late_crt_wc alpha=0.0,1.0"
# what experiments/imbalance.yaml trains on the same features: three seeds are cheap
HEADS = late_crt_wc,late_minimum,late_class_balanced,late_focal,late_balanced_softmax,late_label_aware,$\
	late_balanced_sampler,late_root_sampler,late_progressive_sampler,late_mixup,late_remix,late_lws,late_marc,$\
	late_tau_norm,late_logit_adjusted,late_nearest_mean
THREE_SEEDS = $(if $(filter seed=%,$(ARGS)),,seed=0,1,2)
GAINS = experiments=rounding $(LADDER) experiments=batch_norm $(IMBALANCE) "condition=$(HEADS) $(THREE_SEEDS)" \
	"condition=late_crt_wc,late_minimum alpha=0.0,1.0 $(THREE_SEEDS)"

# a rehearsal on the demo has three folds of the training singers, and trains one of them where nothing is selected
IS_REHEARSAL = $(filter data=demo,$(ARGS))
FIVE_FOLDS = data.fold_singers=train data.fold=0,1,2,3,4
REHEARSAL_FOLDS = data.fold_singers=train data.folds=3
REHEARSAL_INNER = data.fold=0,1,2 data.inner_fold=null,1,2
OUTER = $(if $(IS_REHEARSAL),$(REHEARSAL_FOLDS) data.fold=0,$(FIVE_FOLDS))
NESTED = $(if $(IS_REHEARSAL),$(REHEARSAL_FOLDS) $(REHEARSAL_INNER),$(FIVE_FOLDS))
RECIPE = experiments=recipe condition=late_minimum,none_weighted "condition=singtech ablation=default,by_recording" \
	"condition=singtech model.pooling=table1 model.aggregation=average" "condition=singtech model.aggregation=average" \
	"condition=singtech front_end.axis=linear front_end.bands=null" "condition=singtech augment=none" "condition=singtech optimizer=adam" \
	"condition=singtech schedule.label_smoothing=0.0" "condition=singtech model.dropout=0.3" \
	"condition=singtech strategy=crt_wc" condition=fine_late
WHEELS = resemblyzer,crepe
FROM_HUB = wav2vec2,wavlm,map_music2vec
BOTH = $(FROM_HUB),$(WHEELS)
NAMES = $(if $(IS_REHEARSAL),$(WHEELS),$(BOTH))
ENCODERS = "condition=late_crt_wc,$(NAMES)" "condition=$(NAMES) head=mlp" "condition=$(NAMES) head=linear strategy=crt_minimum"
SHORTCUTS = experiments=shortcuts condition=shortcut_level,shortcut_noise_floor,shortcut_pitch,shortcut_all

paper: setup plan  ## the whole paper: print the plan, run what is missing, render all
	$(call sweep,experiments=table2 experiments=figure3)

gains: setup  ## what the gains are made of: rounding, steps to cRT-WC, batch norm, the long tail
	$(PY) -m singtech plan experiments=rounding,ladder,batch_norm,imbalance $(RUN_ARGS)
	@echo "        and about a third more: what these experiments have beside their product, and two more seeds of the heads"
	$(call sweep,$(GAINS),$(filter data=%,$(ARGS)))

# rehearse in minutes: make beyond ARGS="data=demo"
beyond: RUN_ARGS = $(ARGS)$(if $(IS_REHEARSAL),$(if $(filter schedule=%,$(ARGS)),, schedule=rehearsal))
beyond: setup encoders-setup  ## better than the paper: resolution, recipe, encoders, shortcuts; ARGS="data=demo" rehearses it
	$(PY) -m singtech plan experiments=resolution,candidates $(FIVE_FOLDS) $(RUN_ARGS)
	@echo "        and what the recipe, encoders and shortcuts have beside their products"
	$(PY) -m singtech prepare $(CORPUS_ARGS)
	status=0; $(call each_sweep,experiments=resolution $(RECIPE),$(OUTER)); \
	$(call each_sweep,experiments=candidates,$(NESTED)); \
	$(call each_sweep,$(ENCODERS) $(SHORTCUTS)); \
	$(PY) -m singtech tables $(filter data=%,$(ARGS)) $(filter output_dir=%,$(ARGS)) && exit $$status

recipe: setup
	$(call sweep,$(RECIPE),show=$@)

encoders: setup encoders-setup
	$(call sweep,$(ENCODERS),show=$@)

shortcuts: setup
	$(call sweep,$(SHORTCUTS),show=$@)

encoders-setup: setup  ## install what frozen encoders need
	$(PY) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[encoders]"
	$(PY) -m pip install --quiet --disable-pip-version-check -c constraints.txt --no-deps Resemblyzer torchcrepe

ladder: setup
	$(call sweep,$(LADDER),show=$@)

imbalance imbalance_auc frontier: setup
	$(call sweep,$(IMBALANCE),show=$@)

long_tail: setup  ## what methods against the long tail gain at imbalance ratios of 1, 4 and 16
	$(call sweep,$(LONG_TAIL),show=$@)

tuning: setup  ## tune each method against the long tail on validation singers: one sweep for each
	$(PY) -m singtech prepare $(CORPUS_ARGS)
	$(PY) -m singtech.results.tuning | { status=0; while read -r sweep; do \
		$(PY) -m singtech.run -m $$sweep $(RUN_ARGS) < /dev/null || status=$$?; \
		test $$status -lt 128 || exit $$status; \
	done; $(PY) -m singtech tables show=$@ $(filter output_dir=%,$(ARGS)) && exit $$status; }

plan: setup  ## count what `make paper` would run, its time and disk space
	$(PY) -m singtech plan $(RUN_ARGS)

$(filter-out ladder imbalance imbalance_auc frontier recipe encoders shortcuts,$(EXPERIMENTS)): setup
	$(PY) -m singtech prepare $(CORPUS_ARGS)
	$(PY) -m singtech.run -m experiments=$@ $(RUN_ARGS)
	$(PY) -m singtech tables show=$@ $(filter output_dir=%,$(ARGS))

figure2: setup  ## the length of each technique, without any run
	$(PY) -m singtech prepare $(CORPUS_ARGS)
	$(PY) -m singtech tables show=$@ $(filter output_dir=%,$(ARGS))

verify: setup  ## compare VocalSet with its expected content
	$(PY) -m singtech verify $(ARGS)

pictures: setup  ## draw waveform and spectrograms of one clip of each technique
	$(PY) -m singtech examples $(ARGS)

tables: setup  ## render all tables and figures from the stored results
	$(PY) -m singtech tables $(ARGS)

report: setup  ## write one page to open in a browser: outputs/tables/<data>/report.html
	$(PY) -m singtech report $(ARGS)

wheel: setup  ## build the package into dist/
	$(PY) -m pip wheel --quiet --no-deps -w dist .

clean:  ## remove the .venv and caches, never outputs/
	rm -rf .venv dist .pytest_cache .ruff_cache
