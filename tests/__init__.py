"""Tests of ortmill."""
