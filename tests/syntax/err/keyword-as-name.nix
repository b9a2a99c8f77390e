a.if + { then = 1; }
