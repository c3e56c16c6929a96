"""What knows training, and knows no model, data set, schedule or loss by name: all of them arrive as arguments.

``loop.py`` is the loop; every other file is one concern that the loop names in one to three visible lines.
"""
