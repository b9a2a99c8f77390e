# first
/** doc */ /* plain */ /**/ { # in the set
  a /* before */ = /* after */ 1 /* end */ ;
  # last in the set
} # last
