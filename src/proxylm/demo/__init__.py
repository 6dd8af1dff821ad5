"""`proxylm demo`: the whole way from source files to a byte model, and its report."""
