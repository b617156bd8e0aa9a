PYTHON ?= python3

.PHONY: demo test fuzz mutants comfyui
demo: ; $(PYTHON) dev.py demo
test: ; $(PYTHON) dev.py test
fuzz: ; $(PYTHON) dev.py fuzz
mutants: ; $(PYTHON) dev.py mutants
comfyui: ; $(PYTHON) dev.py comfyui
