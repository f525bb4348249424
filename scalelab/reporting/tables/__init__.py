"""Make tables of results for a paper: markdown, LaTeX, HTML or csv, with methods and sources."""
