"""Jotter: a notes product, sold to several companies and served by one process."""
