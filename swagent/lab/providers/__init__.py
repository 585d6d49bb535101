"""Providers: what finds boards' parts and puts them into the lab; the shelf is ``swagent.lab_providers``."""
