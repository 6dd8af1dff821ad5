"""What stands where in a context, and copying it there: the plan, its draws and its kernels.

``definition`` says in plain Python what the kernels compute.
"""
