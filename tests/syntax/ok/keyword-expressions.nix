let a = 1; inherit (b) c; in with d; assert e; if f then g else h
