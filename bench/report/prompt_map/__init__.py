"""The data of Figure 4: continuous prompt tokens (CPTs) among word embeddings.

`vectors` asks the models, `nearness` and `maps` are arithmetic, `compute` puts all into one plain
JSON value, which `bench.report.plots.prompt_map` draws without any model.
"""
