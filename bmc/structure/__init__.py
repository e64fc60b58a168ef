"""What pruning and sharing stand on: layers' sizes, zeros that stay, word tables, low rank."""
