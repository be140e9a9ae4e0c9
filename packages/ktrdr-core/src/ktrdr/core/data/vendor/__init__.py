"""Import of vendor files: recognize the format, read the rows, check the bars."""
