"""Knowledge distillation: a student learns from a teacher; one kind of signal is one file."""
