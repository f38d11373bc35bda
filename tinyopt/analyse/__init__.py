"""Before a model is made small: where its cycles and bytes go, and which layers bear what."""
