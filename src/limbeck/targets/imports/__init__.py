"""Targets from anywhere: arrays, files of predictions and answers of model APIs, checked and brought to one form."""
