"""Reports: everything in the workspace, compared on the same rows and in the same run."""
