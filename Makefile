# make demo, make test: each makes .venv and installs what it needs first.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: install demo test fix bench clean

install: .venv/installed

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

# One distilled classifier in four formats beside its teacher, and the report that compares them.
demo: install
	$(BIN)/bmc distill --teacher bert --student tiny --force
	$(BIN)/bmc export bert-movie-reviews --target pytorch,onnx,openvino,tensorrt --force
	$(BIN)/bmc export tiny-movie-reviews --target onnx,openvino,tensorrt --force
	$(BIN)/bmc report

test: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest

fix: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Every figure of benchmarks/README.md; some hours on two cores.
bench: install
	$(BIN)/python benchmarks/all.py

clean:
	rm -rf .venv build dist *.egg-info bmc-runs
