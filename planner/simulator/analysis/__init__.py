"""What an execution tells: time classes, bubbles, links, memory, critical path, what-if."""
