# make demo, make test: each makes .venv and installs what it needs first.
PYTHON ?= python3
BIN := .venv/bin
# Some benchmarks import ONNX Runtime before bmc, which would switch its telemetry off.
export ORT_DISABLE_TELEMETRY := 1

.PHONY: faults soak install demo test types suite test-all docs fix fuzz bench bench-baselines bench-compression bench-quantization clean

install: .venv/installed

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

# One distilled classifier in four formats beside its teacher, and the report that compares them.
demo: install
	$(BIN)/bmc distill --teacher bert --student tiny --transfer-size 75000 --force
	$(BIN)/bmc export bert-movie-reviews --target pytorch,onnx,openvino,tensorrt --force
	$(BIN)/bmc export tiny-movie-reviews --target onnx,openvino,tensorrt --force
	$(BIN)/bmc report

test: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(MAKE) --no-print-directory --jobs=2 types suite

# What make test runs side by side: the type checker, which reads everything once, uses one core.
types:
	MYPYPATH=benchmarks $(BIN)/mypy -p bmc -p tests $(patsubst benchmarks/%.py,-m %,$(wildcard benchmarks/*.py))
	$(BIN)/lint-imports

suite:
	$(BIN)/pytest -n logical

# The slow tests as well: every command of docs/, the examples with full-size networks.
test-all: install
	$(BIN)/pytest -n logical -m "slow or not slow"

# The site, in build/docs; it opens from a file, and needs no network.
docs: install
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs build/docs
	@echo "open build/docs/index.html"

fix: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/python tools/architecture.py

# Mutated inputs in children with limits: FUZZ_CASES of each subject, else FUZZ_MINUTES of all; SUBJECT=bundles does one.
FUZZ_MINUTES ?= 60
fuzz: install
	$(BIN)/python -m tests.fuzz $(SUBJECT) $(if $(FUZZ_CASES),--cases $(FUZZ_CASES),--minutes $(FUZZ_MINUTES))

# Speed, footprint and exports of what make demo made; an hour on two cores. benchmarks/README.md lists the rest.
bench: demo
	$(BIN)/python benchmarks/speed.py --teacher bert-movie-reviews --tiny tiny-movie-reviews
	$(BIN)/python benchmarks/self_ratio.py tiny-movie-reviews-onnx
	$(BIN)/python benchmarks/footprint.py --bundle tiny-movie-reviews-onnx
	$(BIN)/python benchmarks/exports.py --teacher bmc-runs/bert-movie-reviews --tiny bmc-runs/tiny-movie-reviews

# Every baseline of the table in docs/results.md, hours; ROW=cnn does one. What has a result is not done again.
bench-baselines: install
	$(BIN)/python benchmarks/baselines.py $(if $(ROW),--row $(ROW))
	$(BIN)/python benchmarks/baselines.py --table

# What pruning and sharing win and lose on them, hours; ROW=lstm does one.
bench-compression: install
	$(BIN)/python benchmarks/compression.py $(if $(ROW),--row $(ROW))
	$(BIN)/python benchmarks/compression.py --table

# What quantization wins and loses on them, two hours; ROW=bert does one.
bench-quantization: install
	$(BIN)/python benchmarks/quantization.py $(if $(ROW),--row $(ROW))
	$(BIN)/python benchmarks/quantization.py --table

# Commands killed at every change on disk and at 300 random moments, and the disk full at each; an hour.
faults: install
	rm -rf /tmp/bmc-faults
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.faults._kills /tmp/bmc-faults --full --random 300 > benchmarks/results/kills.json
	rm -rf /tmp/bmc-faults

# Threads and processes ask nine bundles, for SOAK_MINUTES in all: wrong answers, errors, growth of memory.
SOAK_MINUTES ?= 60
soak: install
	$(BIN)/python benchmarks/soak.py --minutes $(SOAK_MINUTES)

clean:
	rm -rf .venv build dist *.egg-info bmc-runs
