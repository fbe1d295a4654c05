"""From a spec to a model and to numbers.

`spec`, `conflicts` and `variants` say which networks there are; `graph`, `blocks` and `resnet` describe one before it is built;
`layers` builds it, `cost` counts it, `loading` opens its files; `remat` trains it in less memory, `connections` reads the graph of
any model.
"""
