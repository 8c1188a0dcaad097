"""Singing technique classification after Yamamoto, Nam and Terasawa (Interspeech 2022), to sweep and to question.

CONTRIBUTING.md has the map of the modules; `singtech --help` lists the commands.
"""
