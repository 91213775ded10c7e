"""The studies, one file each; docs/studies.md tells how to add one.

A study is a module with

    TITLE, QUESTION                         texts
    runs(config) -> list[run.Run]           what to train and score
    page(results) -> page.Page              the answer, tables and figures
"""
