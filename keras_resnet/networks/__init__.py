"""From a spec to a Keras model, and to what it costs.

`spec`, `conflicts` and `variants` say which networks there are; `blocks` and `resnet` describe one in the nodes of `graph`;
`layers` builds it, `cost` counts it, `loading` opens its files, `remat` trains it in less memory; `connections` and `fusion` read
models.
"""
