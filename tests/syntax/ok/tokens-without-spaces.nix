[a"x"1.5./foo]
