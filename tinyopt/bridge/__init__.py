"""Between graphs and torch: every operator as a function on torch tensors."""
