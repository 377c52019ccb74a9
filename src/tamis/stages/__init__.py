"""The stages, a folder for each: settings, its work, `stage.py` (its key, and what fills its folder), `cost.py`."""
