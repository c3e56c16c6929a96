"""Losses: what is wrong with each sample's logits, one idea a file.

A loss is a class whose instances are called with ``(logits (B, K), targets (B, K))``, where each row of targets is a probability
distribution over the classes, and return one loss a sample, (B,). The objective takes the mean. Mixed and smoothed targets need nothing
special. The run gives the fact ``class_counts``: the number of training samples of each class.
"""
