PYTHON ?= python3

.PHONY: demo test mutants comfyui
demo: ; $(PYTHON) dev.py demo
test: ; $(PYTHON) dev.py test
mutants: ; $(PYTHON) dev.py mutants
comfyui: ; $(PYTHON) dev.py comfyui
