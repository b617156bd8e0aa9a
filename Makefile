PYTHON ?= python3

.PHONY: demo test comfyui
demo: ; $(PYTHON) dev.py demo
test: ; $(PYTHON) dev.py test
comfyui: ; $(PYTHON) dev.py comfyui
