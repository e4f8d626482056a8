"""Knowledge editors: one module per method, found by name through `editors.registry`."""
