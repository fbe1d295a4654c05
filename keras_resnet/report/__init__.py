"""Pages of HTML, each one file that needs nothing else. `templates` renders all of them, that of a search too.

`run_page` is the page of a run, `comparison` that of several; `facts` has what a run says of itself, `measured` what its model says
of its images. `charts` and `pixels` make the pictures.
"""
