"""Labels: what a model is to learn, made from prices that were still to come. Nothing is imported here."""
