"""What stands where in a context, and copying it there: the plan, its draws and its kernels."""
