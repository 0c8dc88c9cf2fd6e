"""What `Memory` can do, a file a subject; each adds its methods to an opened brain."""
