[ (with a b) (assert a == b c) ]
