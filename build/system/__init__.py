"""Run programs and talk to people."""
