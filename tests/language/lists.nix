--- list-prints ---
# => [ 1 "a" [ ] { } null true ]
[ 1 "a" [ ] { } null true ]

--- list-elements-are-atoms ---
# => 3
builtins.length [ (1) (x: x) "a" ]

--- list-concat ---
# => [ 1 2 3 ]
[ 1 ] ++ [ 2 3 ] ++ [ ]

--- list-concat-binds-tighter-than-equality ---
# => true
[ ] ++ [ 1 ] == [ 1 ]

--- list-concat-with-set ---
# error: expected a list but found a set: { }
[ ] ++ { }

--- list-elem-at-too-far ---
# error: 'builtins.elemAt' called with index 3 on a list of size 3
builtins.elemAt [ 1 2 3 ] 3

--- list-elem-at-negative ---
# error: 'builtins.elemAt' called with index -1 on a list of size 1
builtins.elemAt [ 1 ] (-1)

--- list-head-of-empty ---
# error: 'builtins.head' called on an empty list
builtins.head [ ]

--- list-tail-of-empty ---
# error: 'builtins.tail' called on an empty list
builtins.tail [ ]

--- list-length-of-set ---
# error: expected a list but found a set: { }
builtins.length { }

--- list-map-is-lazy ---
# => 2
builtins.length (map (x: throw "never") [ 1 2 ])

--- list-filter ---
# => [ 2 3 ]
builtins.filter (x: x > 1) [ 1 2 3 ]

--- list-filter-not-boolean ---
# error: expected a Boolean but found an integer: 1
builtins.filter (x: x) [ 1 ]

--- list-fold-is-strict-in-accumulator ---
# error: seen
builtins.foldl' (acc: x: x) 0 [ (throw "seen") 1 ]

--- list-fold-does-not-force-elements ---
# => 1
builtins.foldl' (acc: x: acc + 1) 0 [ (throw "never") ]

--- list-gen ---
# => [ 0 1 4 9 16 ]
builtins.genList (i: i * i) 5

--- list-gen-negative ---
# error: cannot create list of size -1
builtins.genList (i: i) (-1)

--- list-sort ---
# => [ 1 2 3 ]
builtins.sort (a: b: a < b) [ 3 1 2 ]

--- list-sort-is-stable ---
# => [ { k = 0; v = "b"; } { k = 1; v = "a"; } { k = 1; v = "c"; } ]
builtins.sort (a: b: a.k < b.k) [ { k = 1; v = "a"; } { k = 0; v = "b"; } { k = 1; v = "c"; } ]

--- list-elem ---
# => [ true true false ]
[ (builtins.elem 1 [ 2 1 ]) (builtins.elem { a = 1; } [ { a = 1; } ]) (builtins.elem 1 [ ]) ]

--- list-concat-map ---
# => [ 1 1 2 2 ]
builtins.concatMap (x: [ x x ]) [ 1 2 ]

--- list-concat-lists ---
# => [ 1 2 3 ]
builtins.concatLists [ [ 1 ] [ ] [ 2 3 ] ]

--- list-partition ---
# => { right = [ 2 3 ]; wrong = [ 1 ]; }
builtins.partition (x: x > 1) [ 1 2 3 ]

--- list-all-any ---
# => [ true false true ]
[ (builtins.all (x: x) [ ]) (builtins.any (x: x) [ ]) (builtins.any (x: x == 2) [ 1 2 (throw "never") ]) ]

--- list-generic-closure ---
# => [ { key = 1; } { key = 2; } { key = 3; } { key = 4; } ]
builtins.genericClosure { startSet = [ { key = 1; } ]; operator = i: if i.key > 3 then [ ] else [ { key = i.key + 1; } { key = 1; } ]; }

--- list-generic-closure-without-key ---
# error: attribute 'key' missing
builtins.genericClosure { startSet = [ { } ]; operator = i: [ ]; }

--- list-equality ---
# => [ true false false ]
[ ([ 1 [ 2 ] ] == [ 1 [ 2 ] ]) ([ ] == [ 1 ]) ([ (x: x) ] == [ (x: x) ]) ]

--- list-same-function-in-it-is-equal ---
# => [ true false ]
let f = x: x; in [ ([ f ] == [ f ]) (f == f) ]

--- list-seq-does-not-force-elements ---
# => 1
builtins.seq [ (throw "never") ] 1

--- list-deep-seq-forces-elements ---
# error: seen
builtins.deepSeq [ (throw "seen") ] 1
