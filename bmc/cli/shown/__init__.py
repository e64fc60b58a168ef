"""What people see of a workflow's result: lines and tables. Imported when a verb has run."""
