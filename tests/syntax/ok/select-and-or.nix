[ a.b.c or d.e a.or f or a."b${c}".${d} or (x: x) ]
