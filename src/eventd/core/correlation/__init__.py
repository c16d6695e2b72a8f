"""Correlation without rules: from what alerts, where and when, to incidents."""
