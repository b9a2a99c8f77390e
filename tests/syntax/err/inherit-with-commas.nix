{ inherit a, b; inherit c.d; inherit (e) f = 1; }
