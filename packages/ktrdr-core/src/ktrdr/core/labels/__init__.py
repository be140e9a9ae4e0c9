"""Labels: the targets of training, computed from the bars after each bar."""
