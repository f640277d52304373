# What a person types. Every target sets up what it needs and is quick when that is there.
SHELL := /bin/bash
PYTHON ?= python3.11
# A machine without a GPU needs no CUDA: make demo TORCH_INDEX=https://download.pytorch.org/whl/cpu
TORCH_INDEX ?=
SIZE ?= full
BIN := .venv/bin
LOCKED := $(BIN)/python -m infra.local.lock

.PHONY: help setup demo test chaos-data lint up down status

help: ## show these lines
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

setup: ## make the environment in .venv, build DeepSpeed's operators, fetch the real footage
	@PYTHON=$(PYTHON) TORCH_INDEX=$(TORCH_INDEX) infra/local/setup.sh

demo: setup ## raw video to served video on this machine; report in demo/ (SIZE=ci|full, VIDEOS=folder, CAPTIONER=source)
	@echo "demo: raw video in a bucket, through training, to served video; the report comes to demo/report.html"
	@$(BIN)/python -m infra.local.demo --size $(SIZE) $(if $(VIDEOS),--videos "$(VIDEOS)") $(if $(CAPTIONER),--captioner "$(CAPTIONER)")

test: setup ## run every test against real servers
	@echo "test: pytest on real S3, MLflow and Ray"
	@$(LOCKED) test $(BIN)/python -m pytest $(ARGS)

chaos-data: setup ## kill `prepare` at named points, fail its bucket, compare every byte (SIZE=ci|full)
	@echo "chaos-data: prepare under kills of drivers, workers and a node, and under a failing bucket"
	@$(LOCKED) chaos-data $(BIN)/python -m tests.chaos.data --size $(SIZE)

lint: setup ## ruff and mypy
	@echo "lint: ruff check, ruff format --check, mypy"
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

up: setup ## start S3, MLflow and Ray on loopback; addresses in .stack/env
	@echo "up: SeaweedFS, MLflow and a Ray head on loopback"
	@$(BIN)/python -m infra.local.stack up

down: ## stop what `make up` started; the data stays
	@echo "down: stopping the local stack"
	@if [ -x $(BIN)/python ]; then $(BIN)/python -m infra.local.stack down; fi

status: ## say what of the stack runs, where, and where its log is
	@if [ -x $(BIN)/python ]; then $(BIN)/python -m infra.local.stack status; else echo "not set up; make setup"; fi
