"""Reports: everything in the workspace, compared on the same rows and in the same run.

`read` opens the files of earlier commands, `collect` gathers a `line` for each bundle, `table`
chooses the columns and notes of the table, `page` and `chart` render the page, and `remarks`
explains conspicuous times.
"""
