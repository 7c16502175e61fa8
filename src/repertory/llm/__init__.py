"""Providers of language models, behind one small interface."""
