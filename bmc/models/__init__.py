"""Model families, one file each: how to build one, where its parts are, how it runs fastest."""
