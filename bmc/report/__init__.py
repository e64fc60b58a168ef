"""Reports: everything in the workspace, compared on the same rows and in the same run.

`read` opens what earlier commands wrote, `collect` gathers one `line` a bundle from it, `table`
decides the columns and notes of the table, `page` and `chart` draw the page, and `remarks` says
what stands out.
"""
