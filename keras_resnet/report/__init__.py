"""HTML pages, each one self-contained file. `templates` renders all of them, also those of searches and experiments.

`run_page` is the page of a run, `comparison` that of several. `facts` reads what a run folder records, `network` draws its network,
`measured` runs its model. `charts` and `pixels` make the pictures.
"""
