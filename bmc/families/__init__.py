"""Model families, one file each: what can be built and how it is trained; they import no torch."""
