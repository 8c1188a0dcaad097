"""Classify singing techniques as in Yamamoto, Nam and Terasawa (Interspeech 2022); sweep and test the choices.

CONTRIBUTING.md has the map of the modules; `singtech --help` lists the commands.
"""
