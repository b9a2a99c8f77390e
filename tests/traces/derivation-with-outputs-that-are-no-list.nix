derivation { name = "j"; system = "x"; builder = "y"; outputs = 3; }
