.DEFAULT_GOAL := help
.PHONY: help setup demo demo-ml up dashboard mlflow test lint docs bench faults soak lock clean distclean
PYTHON := .venv/bin/python
ROOT := $(or $(LAKEHOUSE_ROOT),lakehouse)

help: ## show these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' Makefile

setup: ## create the environment; does only what is missing
	@command -v python3 >/dev/null || { echo 'setup: no python3 found: install Python 3.11 or newer' >&2; exit 1; }; python3 scripts/setup.py

demo: setup ## produce data, load it, build every table, show them (ONLY=stocks: one use case)
	@$(PYTHON) -m demo $(if $(ONLY),--only $(ONLY))

demo-ml: setup ## foretell who leaves a game, and what fails: train, gate, score (in ./lakehouse-ml)
	@LAKEHOUSE_ROOT=$(or $(LAKEHOUSE_ROOT),lakehouse-ml) $(PYTHON) -m demo.ml

up: setup ## start the engine, with an AWS on this machine and producers that keep sending
	@exec $(PYTHON) -m demo.up

dashboard: setup ## show it in a browser: http://127.0.0.1:8050 (DASHBOARD_PORT=…)
	@exec $(PYTHON) -m dashboard

mlflow: setup ## show runs and versions of models in a browser: http://127.0.0.1:5000 (MLFLOW_PORT=…)
	@test -f $(ROOT)/ml/mlflow.db || { echo 'mlflow: nothing is trained in $(ROOT): .venv/bin/python -m loaders ml train player_churn' >&2; exit 1; }; MLFLOW_DISABLE_TELEMETRY=true DO_NOT_TRACK=true exec $(PYTHON) -m mlflow server --host 127.0.0.1 --port $(or $(MLFLOW_PORT),5000) --workers 1 --backend-store-uri sqlite:///$(abspath $(ROOT))/ml/mlflow.db

test: setup ## run every test, those that need Spark in one process, the others beside it
	@$(PYTHON) -m pytest -n 2 --durations 15

lint: setup ## check the style of Python and SQL
	@scripts/lint

docs: setup ## write the documentation of all tables as one page
	@DBT_TARGET_PATH=$(ROOT)/docs DBT_LOG_PATH=$(ROOT)/logs .venv/bin/dbt --quiet docs generate --static --profiles-dir profiles && mv $(ROOT)/docs/static_index.html $(ROOT)/docs/index.html && echo $(ROOT)/docs/index.html

bench: setup ## measure, and print a table
	@$(PYTHON) -m bench

faults: setup ## kill loaders at every step, and prove that nothing is lost or repeated (FAULTS=200 SEED=…)
	@export FAULTS=$(or $(FAULTS),200) SEED=$(or $(SEED),$$(date +%s)); echo "FAULTS=$$FAULTS SEED=$$SEED"; $(PYTHON) -m pytest tests/faults -rP -n 2

soak: setup ## kill the engine at random while it is used, and compare with what was sent (MINUTES=10 SEED=…)
	@export MINUTES=$(or $(MINUTES),10) SEED=$(or $(SEED),$$(date +%s)); echo "MINUTES=$$MINUTES SEED=$$SEED"; $(PYTHON) -m pytest tests/soak

lock: setup ## renew the lock files (UPGRADE=1: to the newest versions allowed)
	@$(PYTHON) scripts/lock.py $(if $(UPGRADE),--upgrade)

clean: ## remove what runs wrote, ./lakehouse with it
	@rm -rf lakehouse lakehouse-ml lakehouse-vault target logs dbt_packages metastore_db spark-warehouse derby.log .pytest_cache .ruff_cache .hypothesis .user.yml && find . -path './.venv*' -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean ## remove the environment too
	@rm -rf .venv .venv-aws jars
