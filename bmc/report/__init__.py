"""Reports: everything in the workspace, compared on the same rows and in the same run.

`read` opens the files of earlier commands, `collect` gathers a `line` for each bundle, `devices`
adds what other devices measured, and `judging` holds the lines against `gates`. `output` writes the
forms: `page` with its `sections`, `table` (Markdown and the terminal), `spreadsheet`, and `chart`.
`remarks` explains conspicuous times, and `answer` says it all in one sentence.
"""
