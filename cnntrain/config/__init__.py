"""Config as a call expression: a plain tree is checked whole and becomes calls that are not yet made.

Every node with ``_target_`` is a call of that class or function and its keys are that signature's parameters, minus the *facts*
that only the run knows. Nothing here knows a model, a data set or a training loop.

The way of a tree, each step a file: ``compose`` has Hydra put it together; ``source`` finds where a dotted name is written, without
importing its parents; ``annotation`` turns the text of an annotation into a type; ``signature`` reads a target's parameters;
``values`` fits a value to a type and says in words what was expected; ``trust`` says what a config out of a checkpoint may name;
``suggest`` finds the name that was meant; ``recipe`` walks the tree and reports all problems at once in one ConfigError.
A check imports neither torch nor hydra.
"""
