"""Widgets: painted lines, lists, bars. They show values and report keys; they read no file."""
