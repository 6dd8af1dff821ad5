"""The view store on disk and the pipeline that fills it (`proxylm prepare`)."""
