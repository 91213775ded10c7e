"""Search: settings of a variant, judged on the validation window."""
