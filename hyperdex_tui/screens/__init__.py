"""Screens: each composes widgets, routes keys and messages, and computes nothing itself."""
