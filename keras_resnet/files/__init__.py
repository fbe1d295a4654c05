"""Model files of any runtime: `runtimes` runs them, `model_file` opens one in a process of its own, `predictions` reads what they
put out, `benchmark` compares their speed.
"""
