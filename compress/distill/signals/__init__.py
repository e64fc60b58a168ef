"""Internal signals of distillation, such as hidden states; each file defines one signal."""
