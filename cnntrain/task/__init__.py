"""One verb a file, one function of the same name: it assembles the parts and calls the engine.

A task's parameters are the keys of its primary config; nested nodes arrive as uncalled recipes.
"""
