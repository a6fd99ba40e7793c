"""Which node plays which part of a layout: axis orders on regular networks, permutations of nodes on measured links."""
