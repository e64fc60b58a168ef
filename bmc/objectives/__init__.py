"""What each task trains on, one file each: its losses, of labels and of a teacher's outputs.

What a task is without torch is in the file of the same name in `bmc/tasks`.
"""
