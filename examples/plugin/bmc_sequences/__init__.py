"""A plug-in of bmc with a model family, a data set, a technique and a target."""
