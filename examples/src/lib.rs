//! Small hosts that embed the crates: one file below `bin/` each, which starts with how to run it.
