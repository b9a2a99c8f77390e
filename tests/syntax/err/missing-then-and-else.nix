[ (if a b) (if a then b) (if then b else) ]
