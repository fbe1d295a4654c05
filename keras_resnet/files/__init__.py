"""Model files of any runtime, whoever wrote them. Nothing is exported here, but `targets` has the kinds of files that can be.

`runtimes` runs a file, `model_file` runs it in a process of its own, whose program is `process`, `predictions` turns its outputs
into classes and accuracy, `benchmark` compares the speed of files.
"""
