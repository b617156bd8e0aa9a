PYTHON ?= python3

.PHONY: demo test fuzz comfyui
demo: ; $(PYTHON) dev.py demo
test: ; $(PYTHON) dev.py test
fuzz: ; $(PYTHON) dev.py fuzz
comfyui: ; $(PYTHON) dev.py comfyui
